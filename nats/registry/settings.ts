import type { MessageShape } from "@bufbuild/protobuf";
import type { SchemaSettingsSchema } from "../../gen/shop/registry/v1/schema_settings_pb.ts";
import type { Mode } from "../../schemas/mod.ts";
import type { Key } from "../contracts/contract.ts";
import { globalSettingsKey, settingsKey } from "./bucket.ts";
import type { RegistryView } from "./view.ts";

/** Streams are replayed, so any version that is retained may be read. */
export const DEFAULT_COMPATIBILITY = "BACKWARD_TRANSITIVE" satisfies Mode;

/** Whether a subject takes new versions, and with ids of whose choice. */
export const subjectModes = ["READWRITE", "READONLY", "IMPORT"] as const;
export type SubjectMode = (typeof subjectModes)[number];

/** What holds for a subject is in these. Nothing that is decided on it writes them, so no guard tells that they changed. */
export function settingsKeys(subject: string): Key<typeof SchemaSettingsSchema>[] {
  return [settingsKey(subject), globalSettingsKey];
}

type Settings = MessageShape<typeof SchemaSettingsSchema>;

/** What holds for a subject: its own setting, else the global one, else the default. */
export function compatibilityOf(view: Pick<RegistryView, "get">, subject: string): Mode {
  return (setting(view, subject, "compatibility") ?? DEFAULT_COMPATIBILITY) as Mode;
}

export function modeOf(view: Pick<RegistryView, "get">, subject: string): SubjectMode {
  return (setting(view, subject, "mode") ?? "READWRITE") as SubjectMode;
}

export function normalizes(view: Pick<RegistryView, "get">, subject: string): boolean {
  return setting(view, subject, "normalize") ?? false;
}

function setting<K extends "compatibility" | "mode" | "normalize">(
  view: Pick<RegistryView, "get">,
  subject: string,
  name: K,
): Settings[K] | undefined {
  return view.get(settingsKey(subject))?.[name] ?? view.get(globalSettingsKey)?.[name];
}
