import {
  globalSettingsKey,
  type Key,
  type RegistryView,
  type SchemaStore,
  settingsKey,
} from "../../nats/mod.ts";
import type { Compiler } from "./compiler.ts";
import type { Mirror } from "./mirror.ts";

/** What the routes work with. */
export interface Registry {
  readonly store: SchemaStore;
  readonly mirror: Mirror;
  readonly compiler: Compiler;
}

/** The settings of a subject and of all, to be looked at as a decision would. */
export async function settingsOf({ store }: Registry, subject: string): Promise<Pick<RegistryView, "get">> {
  const keys = [settingsKey(subject), globalSettingsKey];
  const values = new Map(
    await Promise.all(keys.map(async (key) => [key.subject, await store.read(key)] as const)),
  );
  return { get: (key: Key) => values.get(key.subject) as never };
}
