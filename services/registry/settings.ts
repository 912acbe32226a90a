import type { MessageShape } from "@bufbuild/protobuf";
import type { Context, Hono } from "hono";
import type { SchemaSettingsSchema } from "../../gen/shop/registry/v1/schema_settings_pb.ts";
import { described, type Env, requestDeadline } from "../../lib/mod.ts";
import {
  DEFAULT_COMPATIBILITY,
  globalSettingsKey,
  type Key,
  message,
  RegistryCode,
  RegistryError,
  type RegistryView,
  settingsKey,
} from "../../nats/mod.ts";
import { answer } from "./answer.ts";
import { globalSettings, subjectSettings } from "./api.ts";
import type { Registry } from "./registry.ts";
import { flag, readJson, subjectIn } from "./request.ts";

type Settings = MessageShape<typeof SchemaSettingsSchema>;
type Change = Partial<Pick<Settings, "compatibility" | "mode" | "normalize">>;

/** `/config` and `/mode`: what holds for one subject, and for those that have nothing of their own. */
export function settingsRoutes(app: Hono<Env>, registry: Registry): void {
  const { store } = registry;

  for (const [path, api] of [
    ["/config", globalSettings],
    ["/config/:subject", subjectSettings],
  ] as const) {
    app.get(path, described(api.getLevel), async (context) => {
      const own = await store.read(keyIn(context));
      const global = await inherited(context, registry);
      const level = own?.compatibility ?? global?.compatibility ?? fallback(context, DEFAULT_COMPATIBILITY);
      return answer(context, levelJson(context, level, own?.normalize ?? global?.normalize));
    });

    app.put(path, described(api.putLevel), async (context) => {
      const body = await readJson(context.req, api.putLevel.body, RegistryCode.InvalidLevel);
      const change: Change = {
        ...(typeof body.compatibility === "string" && { compatibility: body.compatibility }),
        ...(typeof body.normalize === "boolean" && { normalize: body.normalize }),
      };
      await set(context, registry, change);
      return answer(context, change);
    });

    app.delete(path, described(api.deleteLevel), async (context) => {
      const own = await store.read(keyIn(context));
      const level = own?.compatibility ?? fallback(context, DEFAULT_COMPATIBILITY);
      const before = levelJson(context, level, own?.normalize);
      await set(context, registry, { compatibility: undefined, normalize: undefined });
      return answer(context, before);
    });
  }

  for (const [path, api] of [
    ["/mode", globalSettings],
    ["/mode/:subject", subjectSettings],
  ] as const) {
    app.get(path, described(api.getMode), async (context) => {
      const own = await store.read(keyIn(context));
      const global = await inherited(context, registry);
      const mode = own?.mode ?? global?.mode ?? fallback(context, "READWRITE");
      if (mode === undefined) throw notSet(context, RegistryCode.NoSubjectMode, "mode");
      return answer(context, { mode });
    });

    app.put(path, described(api.putMode), async (context) => {
      const { mode } = await readJson(context.req, api.putMode.body, RegistryCode.InvalidMode);
      // Ids of somebody's choice beside ids that were given away could be one and the same.
      if (mode === "IMPORT" && !flag(context.req, "force")) await refuseExisting(context, registry);
      await set(context, registry, { mode });
      return answer(context, { mode });
    });

    app.delete(path, described(api.deleteMode), async (context) => {
      const own = await store.read(keyIn(context));
      const mode = own?.mode ?? fallback(context, "READWRITE");
      if (mode === undefined) throw notSet(context, RegistryCode.NoSubjectMode, "mode");
      await set(context, registry, { mode: undefined });
      return answer(context, { mode });
    });
  }
}

/** @throws {RegistryError} 40408 if neither is set. */
function levelJson(context: Context<Env>, level: string | undefined, normalize: boolean | undefined) {
  if ((level ?? normalize) === undefined)
    throw notSet(context, RegistryCode.NoSubjectConfig, "compatibility level");
  return {
    ...(level !== undefined && { compatibilityLevel: level }),
    ...(normalize !== undefined && { normalize }),
  };
}

function isGlobal({ req }: Context<Env>): boolean {
  return req.param("subject") === undefined;
}

function keyIn(context: Context<Env>): Key<typeof SchemaSettingsSchema> {
  return isGlobal(context) ? globalSettingsKey : settingsKey(subjectIn(context.req));
}

/** The global settings, where a request for a subject's asks for them in their stead. */
async function inherited(context: Context<Env>, { store }: Registry): Promise<Settings | undefined> {
  return flag(context.req, "defaultToGlobal") ? store.read(globalSettingsKey) : undefined;
}

/** What holds where nothing is set: of the registry as a whole, and of a subject if the request asks for that. */
function fallback(context: Context<Env>, standard: string): string | undefined {
  return isGlobal(context) || flag(context.req, "defaultToGlobal") ? standard : undefined;
}

async function set(
  context: Context<Env>,
  { store }: Registry,
  change: { [K in keyof Change]: Change[K] | undefined },
) {
  const key = keyIn(context);
  const id = key.subject.slice(key.contract.subject.length + 1);
  const decide = (view: RegistryView) => {
    const { compatibility, mode, normalize } = { ...view.get(key), ...change };
    const settings = Object.fromEntries(
      Object.entries({ compatibility, mode, normalize }).filter(([, value]) => value !== undefined),
    );
    return { messages: [message(key.contract, id, settings)], result: { kind: "set" as const } };
  };
  await store.change([key], decide, { signal: requestDeadline() });
  const subject = isGlobal(context) ? "(all)" : subjectIn(context.req);
  context.var.log.warn({ subject, ...change }, "registry settings changed");
}

async function refuseExisting(context: Context<Env>, { mirror }: Registry): Promise<void> {
  const subjects = (await mirror.subjects()).filter(({ name, versions }) => {
    return versions.some(({ deleted }) => !deleted) && (isGlobal(context) || name === subjectIn(context.req));
  });
  if (subjects.length === 0) return;
  throw new RegistryError(
    RegistryCode.NotPermitted,
    `Cannot import since found existing subjects: ${subjects
      .slice(0, 3)
      .map(({ name }) => name)
      .join(", ")}. Set force=true to import all the same`,
  );
}

function notSet(context: Context<Env>, code: RegistryCode, what: string): RegistryError {
  return new RegistryError(
    code,
    `Subject ${JSON.stringify(subjectIn(context.req))} does not have a ${what} of its own`,
  );
}
