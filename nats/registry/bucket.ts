import { SchemaIdSchema } from "../../gen/shop/registry/v1/schema_id_pb.ts";
import { SchemaSchema } from "../../gen/shop/registry/v1/schema_pb.ts";
import { SchemaSettingsSchema } from "../../gen/shop/registry/v1/schema_settings_pb.ts";
import { SchemaSubjectSchema } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { contract, type Key, key } from "../contracts/contract.ts";

// The registry's data: a key-value bucket whose values are protobuf, so that a ledger reads, decides and commits it like
// any other state. A key is a subject of the stream behind the bucket (ADR-8 of NATS).

/** Bucket of the schemas. */
export const SCHEMAS = "SCHEMAS";
/** The stream behind it. */
export const SCHEMAS_STREAM = `KV_${SCHEMAS}`;

const latest = { keep: "latest" } as const;

/** By id. */
export const schema = contract(`$KV.${SCHEMAS}.schema`, SchemaSchema, latest);
/** By guid. */
export const schemaId = contract(`$KV.${SCHEMAS}.guid`, SchemaIdSchema, latest);
/** By {@linkcode tokenOf} the subject. */
export const schemaSubject = contract(`$KV.${SCHEMAS}.subject`, SchemaSubjectSchema, latest);
/** By {@linkcode tokenOf} the subject. */
export const subjectSettings = contract(`$KV.${SCHEMAS}.settings`, SchemaSettingsSchema, latest);

const globalSettings = contract(`$KV.${SCHEMAS}.global_settings`, SchemaSettingsSchema, latest);

/** What holds for subjects without settings of their own. */
export const globalSettingsKey: Key<typeof SchemaSettingsSchema> = key(globalSettings, "all");

/** A name of any characters as one token of a key. */
export function tokenOf(subject: string): string {
  return Buffer.from(subject).toString("base64url");
}

export function subjectKey(subject: string): Key<typeof SchemaSubjectSchema> {
  return key(schemaSubject, tokenOf(subject));
}

export function settingsKey(subject: string): Key<typeof SchemaSettingsSchema> {
  return key(subjectSettings, tokenOf(subject));
}

export function guidKey(guid: string): Key<typeof SchemaIdSchema> {
  return { subject: `${schemaId.subject}.${guid}`, contract: schemaId };
}

export function schemaKey(id: number): Key<typeof schema.schema> {
  return { subject: `${schema.subject}.${id}`, contract: schema };
}
