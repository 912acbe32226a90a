import type { Context, Hono } from "hono";
import type { SchemaSubject, SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { described, type Env, requestDeadline } from "../../lib/mod.ts";
import {
  normalizes,
  RegistryCode,
  RegistryError,
  type StoredSchema,
  subjectNotFound,
} from "../../nats/mod.ts";
import { describe } from "../../schemas/mod.ts";
import { answer, answerText } from "./answer.ts";
import * as api from "./api.ts";
import { toCandidate } from "./candidate.ts";
import type { Registry } from "./registry.ts";
import { count, findVersion, flag, readSchema, subjectIn, versionIn } from "./request.ts";
import { schemaJson, textIn } from "./schemas.ts";

/** `/subjects`: what there is, registering, looking up and deleting. */
export function subjectRoutes(app: Hono<Env>, registry: Registry): void {
  const { store, mirror } = registry;

  app.get("/subjects", described(api.listSubjects), async (context) => {
    const { req } = context;
    // Clients write the default context, which is the only one, and all contexts, in front of it.
    const prefix = (req.query("subjectPrefix") ?? "").replace(/^:[.*]:/, "");
    const shown = shownVersions(context);
    const subjects = (await mirror.subjects())
      .filter(({ name, versions }) => name.startsWith(prefix) && versions.some(shown))
      .map(({ name }) => name);
    const offset = count(req, "offset", 0);
    const limit = count(req, "limit", -1);
    return answer(context, subjects.slice(offset, limit < 0 ? undefined : offset + limit));
  });

  app.post("/subjects/:subject", described(api.lookUpSchema), async (context) => {
    const subject = subjectIn(context.req);
    const sent = await readSchema(context.req);
    const doc = await store.subject(subject);
    const versions = (doc?.versions ?? []).filter(({ deleted }) => !deleted || flag(context.req, "deleted"));
    if (versions.length === 0) throw subjectNotFound(subject);
    const { guid } = await toCandidate({ ...sent, normalize: await normalize(context, registry) }, registry);
    for (const version of versions.toReversed()) {
      const stored = await schemaOf(registry, version);
      if (stored.guid === guid) return answer(context, versionJson(context, { subject, version, stored }));
    }
    throw new RegistryError(
      RegistryCode.SchemaNotFound,
      `Schema not found in subject ${JSON.stringify(subject)}`,
    );
  });

  app.delete("/subjects/:subject", described(api.deleteSubject), async (context) => {
    return answer(context, await remove(context, registry, undefined));
  });

  app.get("/subjects/:subject/versions", described(api.listVersions), async (context) => {
    const subject = subjectIn(context.req);
    const versions = (await store.subject(subject))?.versions.filter(shownVersions(context)) ?? [];
    if (versions.length === 0) throw subjectNotFound(subject);
    return answer(
      context,
      versions.map(({ version }) => version),
    );
  });

  app.post("/subjects/:subject/versions", described(api.registerSchema), async (context) => {
    const subject = subjectIn(context.req);
    const { id, version, ...sent } = await readSchema(context.req);
    const candidate = await toCandidate({ ...sent, normalize: await normalize(context, registry) }, registry);
    const options = { by: "http", now: new Date(), id, version, signal: requestDeadline() };
    const result = await store.register(subject, candidate, options);
    switch (result.kind) {
      case "registered": {
        if (result.isNew)
          context.var.log.info({ subject, version: result.version, id: result.id }, "schema registered");
        return answer(context, { id: result.id, version: result.version, guid: candidate.guid });
      }
      case "incompatible": {
        const differences = result.found.map((it) => describe(it)).join("; ");
        const name = JSON.stringify(subject);
        throw new RegistryError(
          RegistryCode.Incompatible,
          `Schema being registered is incompatible with an earlier schema for subject ${name} (${result.mode}): ${differences}`,
        );
      }
      case "refused":
        throw result.error;
      default:
        return result satisfies never;
    }
  });

  app.get("/subjects/:subject/versions/:version", described(api.getVersion), async (context) => {
    return answer(context, versionJson(context, await chosen(context, registry)));
  });

  app.get("/subjects/:subject/versions/:version/schema", described(api.getVersionText), async (context) => {
    const { stored } = await chosen(context, registry);
    return answerText(context, textIn(context, stored));
  });

  app.get(
    "/subjects/:subject/versions/:version/referencedby",
    described(api.listReferrers),
    async (context) => {
      const { version } = await chosen(context, registry);
      const ids = new Set(version.referrers.map(({ id }) => id));
      return answer(
        context,
        [...ids].sort((a, b) => a - b),
      );
    },
  );

  app.delete("/subjects/:subject/versions/:version", described(api.deleteVersion), async (context) => {
    const subject = subjectIn(context.req);
    const wanted = versionIn(context.req);
    const doc = await store.subject(subject);
    const latest =
      wanted === undefined ? findVersion(doc, { subject, version: wanted, deleted: false }) : undefined;
    const [removed] = await remove(context, registry, wanted ?? latest?.version);
    return answer(context, removed);
  });
}

async function remove(
  context: Context<Env>,
  { store }: Registry,
  version: number | undefined,
): Promise<readonly number[]> {
  const subject = subjectIn(context.req);
  const permanent = flag(context.req, "permanent");
  const result = await store.remove(subject, { version, permanent, signal: requestDeadline() });
  if (result.kind === "refused") throw result.error;
  context.var.log.warn({ subject, versions: result.versions, permanent }, "schema versions deleted");
  return result.versions;
}

interface Chosen {
  subject: string;
  version: SchemaVersion;
  stored: StoredSchema;
}

/** The version that a path names. */
async function chosen(context: Context<Env>, registry: Registry): Promise<Chosen> {
  const subject = subjectIn(context.req);
  const options = { subject, version: versionIn(context.req), deleted: flag(context.req, "deleted") };
  const version = findVersion(await registry.store.subject(subject), options);
  return { subject, version, stored: await schemaOf(registry, version) };
}

function versionJson(context: Context<Env>, { subject, version, stored }: Chosen) {
  const { id, guid, ...rest } = schemaJson(context, stored);
  return { subject, id, guid, version: version.version, ...rest };
}

async function schemaOf({ store }: Registry, { id, version }: SchemaVersion): Promise<StoredSchema> {
  const stored = await store.schema(id);
  if (stored === undefined) throw new Error(`Cannot read version ${version}: schema ${id} is not there`);
  return stored;
}

/** As the parameter says, else as the subject's settings do. */
async function normalize(context: Context<Env>, registry: Registry): Promise<boolean> {
  if (flag(context.req, "normalize")) return true;
  const subject = subjectIn(context.req);
  return normalizes(await registry.store.settings(subject), subject);
}

/** Those that are not deleted, all, or deleted ones only, as the request asks for. */
function shownVersions({ req }: Context<Env>): (version: SchemaSubject["versions"][number]) => boolean {
  if (flag(req, "deletedOnly")) return ({ deleted }) => deleted;
  return flag(req, "deleted") ? () => true : ({ deleted }) => !deleted;
}
