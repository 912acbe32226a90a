import type { HonoRequest } from "hono";
import type { z } from "zod";
import type { SchemaSubject, SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { RegistryCode, RegistryError, subjectNotFound, versionNotFound } from "../../nats/mod.ts";
import type { Reference } from "../../schemas/mod.ts";
import { SchemaBody } from "./api.ts";

/** Longer names are no key of a bucket's. */
const MAX_SUBJECT_LENGTH = 255;
const MAX_INT = 2_147_483_647;

export interface SchemaRequest {
  readonly schema: string;
  readonly references: readonly Reference[];
  readonly id: number | undefined;
  readonly version: number | undefined;
}

/** @throws {RegistryError} 42201 for what is no schema that can be registered here. */
export async function readSchema(request: HonoRequest): Promise<SchemaRequest> {
  const body = await readJson(request, SchemaBody, RegistryCode.InvalidSchema);
  const type = body.schemaType ?? "PROTOBUF";
  if (type.toUpperCase() !== "PROTOBUF") {
    throw new RegistryError(
      RegistryCode.InvalidSchema,
      `Invalid schema: this registry holds PROTOBUF, and not ${type}`,
    );
  }
  const references = (body.references ?? []).map(({ subject, ...it }) => ({
    ...it,
    subject: checkSubject(subject),
  }));
  return {
    schema: body.schema,
    references,
    id: positive(body.id),
    version: positive(body.version),
  };
}

/** Clients send -1 for "whichever it will be". */
function positive(value: number | null | undefined): number | undefined {
  return value === null || value === undefined || value < 1 ? undefined : value;
}

/** @throws {RegistryError} `code` for what does not fit the schema, and for what is no JSON. */
export async function readJson<S extends z.ZodType>(
  request: HonoRequest,
  schema: S,
  code: RegistryCode,
): Promise<z.infer<S>> {
  let body: unknown;
  try {
    body = JSON.parse(await request.text());
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new RegistryError(code, "The body is not valid JSON");
  }
  const read = schema.safeParse(body);
  if (read.success) return read.data;
  const faults = read.error.issues.map(({ path, message }) => `${path.join(".") || "body"}: ${message}`);
  throw new RegistryError(code, faults.join("; "));
}

/**
 * The subject of a path, decoded. `:.:name` is a name in the default context, which is the only one.
 * @throws {RegistryError} 42208 for what can be the name of none.
 */
export function subjectIn(request: HonoRequest): string {
  const name = checkSubject(request.param("subject") ?? "");
  // What is no UTF-8 once it is decoded would be left as it is, and be another subject's name.
  if (isEncoded(new URL(request.url).pathname)) return name;
  throw invalidSubject(name, "its percent-encoding is none of UTF-8");
}

function isEncoded(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

export function checkSubject(text: string): string {
  const name = text.startsWith(":.:") ? text.slice(3) : text;
  const reason = subjectFault(name);
  if (reason === undefined) return name;
  throw invalidSubject(text, reason);
}

function invalidSubject(text: string, reason: string): RegistryError {
  const shown = JSON.stringify(text.slice(0, MAX_SUBJECT_LENGTH));
  return new RegistryError(
    RegistryCode.InvalidSubject,
    `The specified subject ${shown} is not valid: ${reason}`,
  );
}

function subjectFault(name: string): string | undefined {
  if (name === "") return "it is empty";
  if (Buffer.byteLength(name) > MAX_SUBJECT_LENGTH) return `it is longer than ${MAX_SUBJECT_LENGTH} bytes`;
  if (/\p{Cc}|\p{Cs}|\uFFFD/u.test(name)) return "it has control characters, or is not UTF-8";
  if (name === "." || name === "..") return "it is no part of a path";
  if (name === "__GLOBAL" || name === "__EMPTY") return "the name is reserved";
  return name.startsWith(":.") ? "there is no context but the default one" : undefined;
}

/** @throws {RegistryError} 42202 unless it is a version number, -1 or `latest`, which are both undefined here. */
export function versionIn(request: HonoRequest): number | undefined {
  const text = request.param("version") ?? "";
  if (text === "latest" || text === "-1") return undefined;
  const version = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : 0;
  if (version >= 1 && version <= MAX_INT) return version;
  throw new RegistryError(
    RegistryCode.InvalidVersion,
    `The specified version ${JSON.stringify(text)} is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
  );
}

/** A parameter that is on when it is `true`. */
export function flag(request: HonoRequest, name: string): boolean {
  return request.query(name)?.toLowerCase() === "true";
}

/** A parameter that is a count, or `standard`. */
export function count(request: HonoRequest, name: string, standard: number): number {
  const text = request.query(name) ?? "";
  return /^\d{1,9}$/.test(text) ? Number(text) : standard;
}

/**
 * One version of a subject.
 * @param options.deleted Whether one that is softly deleted is found, too.
 * @throws {RegistryError} 40401 or 40402.
 */
export function findVersion(
  doc: SchemaSubject | undefined,
  options: { subject: string; version: number | undefined; deleted: boolean },
): SchemaVersion {
  const { subject, version, deleted } = options;
  const versions = (doc?.versions ?? []).filter((it) => deleted || !it.deleted);
  if (versions.length === 0) throw subjectNotFound(subject);
  const found = version === undefined ? versions.at(-1) : versions.find((it) => it.version === version);
  if (found === undefined) throw versionNotFound(version ?? 0);
  return found;
}
