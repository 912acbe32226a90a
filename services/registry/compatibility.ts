import type { Context, Hono } from "hono";
import { described, type Env } from "../../lib/mod.ts";
import { compatibilityOf, RegistryCode, RegistryError, versionNotFound } from "../../nats/mod.ts";
import { check, describe, type Incompatibility, type Mode, type Version } from "../../schemas/mod.ts";
import { answer } from "./answer.ts";
import * as api from "./api.ts";
import { toCandidate } from "./candidate.ts";
import type { Registry } from "./registry.ts";
import { flag, readSchema, subjectIn, versionIn } from "./request.ts";

/** `/compatibility`: what registering would say, without registering. */
export function compatibilityRoutes(app: Hono<Env>, registry: Registry): void {
  app.post("/compatibility/subjects/:subject/versions", described(api.checkAll), async (context) => {
    return answer(context, await verdict(context, registry, (versions) => versions));
  });

  app.post("/compatibility/subjects/:subject/versions/:version", described(api.checkOne), async (context) => {
    const wanted = versionIn(context.req);
    return answer(
      context,
      await verdict(context, registry, (versions) => {
        if (wanted === undefined) return versions.slice(-1);
        const found = versions.find(({ version }) => version === wanted);
        if (found === undefined) throw versionNotFound(wanted);
        return [found];
      }),
    );
  });
}

async function verdict(
  context: Context<Env>,
  registry: Registry,
  choose: (versions: readonly Version[]) => readonly Version[],
) {
  const { req } = context;
  const subject = subjectIn(req);
  const sent = await readSchema(req);
  const mode = compatibilityOf(await registry.store.settings(subject), subject);
  const versions = choose(await liveVersions(registry, subject));
  const { file } = await toCandidate({ ...sent, normalize: flag(req, "normalize") }, registry);
  const found = check(mode, file, versions);
  return {
    is_compatible: found.length === 0,
    ...(flag(req, "verbose") && { messages: messages(mode, found), differences: differences(found) }),
  };
}

/** As clients print them: a line for each difference's version. */
function messages(mode: Mode, found: readonly Incompatibility[]): string[] {
  return found.map((incompatibility) => `${mode}: ${describe(incompatibility)}`);
}

/** The same for programs. */
function differences(found: readonly Incompatibility[]) {
  return found.flatMap(({ version, direction, differences: list }) => {
    return list.map(({ type, path, old, new: now }) => ({
      type,
      path,
      old: old ?? null,
      new: now ?? null,
      version,
      direction,
    }));
  });
}

async function liveVersions({ store }: Registry, subject: string): Promise<Version[]> {
  const doc = await store.subject(subject);
  const live = doc?.versions.filter(({ deleted }) => !deleted) ?? [];
  return Promise.all(
    live.map(async ({ version, id }) => {
      const stored = await store.schema(id);
      if (stored === undefined) throw new RegistryError(RegistryCode.Store, `Schema ${id} is not there`);
      return { version, file: stored.file };
    }),
  );
}
