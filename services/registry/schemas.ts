import { toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Context, Hono } from "hono";
import { described, type Env } from "../../lib/mod.ts";
import { RegistryCode, RegistryError, type StoredSchema, storedGuid } from "../../nats/mod.ts";
import { printFile, toFileSet } from "../../schemas/mod.ts";
import { answer, answerText } from "./answer.ts";
import * as api from "./api.ts";
import type { Registry } from "./registry.ts";
import { checkSubject, flag } from "./request.ts";

/** `/schemas`: what is under an id, whichever subjects have it. */
export function schemaRoutes(app: Hono<Env>, registry: Registry): void {
  app.get("/schemas/types", described(api.listTypes), (context) => answer(context, ["PROTOBUF"]));

  app.get("/schemas/ids/:id", described(api.getSchema), async (context) => {
    const { stored } = await byId(context, registry);
    const { id: _, ...body } = schemaJson(context, stored);
    // Which context to look in, and no filter: a message that was forwarded is read under another topic's subject.
    const subject = context.req.query("subject");
    if (subject) checkSubject(subject);
    // The ids of a schema are one and the same here, whatever its subject.
    const maxId = flag(context.req, "fetchMaxId") ? { maxId: stored.id } : {};
    return answer(context, { ...body, ...maxId });
  });

  app.get("/schemas/ids/:id/schema", described(api.getSchemaText), async (context) => {
    const { stored } = await byId(context, registry);
    return answerText(context, textIn(context, stored));
  });

  app.get("/schemas/ids/:id/subjects", described(api.listSubjectsOfSchema), async (context) => {
    const { uses } = await byId(context, registry);
    const shown = uses.filter(({ version }) => !version.deleted || flag(context.req, "deleted"));
    return answer(context, [...new Set(shown.map(({ subject }) => subject))]);
  });

  app.get("/schemas/ids/:id/versions", described(api.listVersionsOfSchema), async (context) => {
    const { uses } = await byId(context, registry);
    const shown = uses.filter(({ version }) => !version.deleted || flag(context.req, "deleted"));
    return answer(
      context,
      shown.map(({ subject, version }) => ({ subject, version: version.version })),
    );
  });

  app.get("/schemas/guids/:guid", described(api.getSchemaByGuid), async (context) => {
    const stored = await byGuid(context, registry);
    const { id: _, ...body } = schemaJson(context, stored);
    return answer(context, body);
  });

  app.get("/schemas/guids/:guid/ids", described(api.listIdsOfGuid), async (context) => {
    const { id } = await byGuid(context, registry);
    return answer(context, [{ context: ".", id }]);
  });
}

/** A schema as it is answered: as text, or as a descriptor in base64 with `format=serialized`. */
export function schemaJson(context: Context<Env>, stored: StoredSchema) {
  const { id, guid, references } = stored;
  return {
    id,
    guid,
    schemaType: "PROTOBUF",
    schema: textIn(context, stored),
    ...(references.length > 0 && {
      references: references.map(({ name, subject, version }) => ({ name, subject, version })),
    }),
  };
}

/** The text as it was registered, or what prints the same schema; a FileDescriptorProto in base64 with `format=serialized`. */
export function textIn({ req }: Context<Env>, { file, text }: StoredSchema): string {
  if (req.query("format") !== "serialized") return text || printFile(file);
  const own = toFileSet(file).file.at(-1) ?? file.proto;
  return Buffer.from(toBinary(FileDescriptorProtoSchema, own)).toString("base64");
}

async function byId({ req }: Context<Env>, { store, mirror }: Registry) {
  const text = req.param("id") ?? "";
  const stored = /^[1-9]\d{0,8}$/.test(text) ? await store.schema(Number(text)) : undefined;
  const { uses, gone } = stored ? await mirror.usesOf(stored.id) : { uses: [], gone: true };
  if (stored === undefined || gone) throw schemaNotFound(text);
  return { stored, uses };
}

async function byGuid({ req }: Context<Env>, { store, mirror }: Registry): Promise<StoredSchema> {
  const guid = (req.param("guid") ?? "").toLowerCase();
  const isGuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(guid);
  const id = isGuid ? (await store.read(storedGuid(guid)))?.id : undefined;
  const stored = id === undefined ? undefined : await store.schema(id);
  if (stored === undefined || (await mirror.usesOf(stored.id)).gone) throw schemaNotFound(guid);
  return stored;
}

function schemaNotFound(what: string): RegistryError {
  return new RegistryError(
    RegistryCode.SchemaNotFound,
    `Schema ${JSON.stringify(what.slice(0, 64))} not found`,
  );
}
