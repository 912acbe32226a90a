import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  SchemaReferrerSchema,
  type SchemaSubject,
  SchemaSubjectSchema,
  SchemaVersionSchema,
} from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { check, type Incompatibility, type Mode } from "../../schemas/mod.ts";
import { type Key, message, type Outgoing } from "../contracts/contract.ts";
import type { Decision } from "../task.ts";
import { guidKey, schema, schemaId, schemaKey, subjectKey } from "./bucket.ts";
import { notPermitted, RegistryCode, RegistryError } from "./errors.ts";
import { compatibilityOf, modeOf, type SubjectMode } from "./settings.ts";
import { type Candidate, changeReferrers, nothing, type RegistryView, type Unread, write } from "./view.ts";

/** Versions that one subject may have. Each is looked at when the next one is checked. */
export const MAX_VERSIONS = 1_000;
/** A subject with its versions and their referrers has to fit into one message of the server (1 MB). */
const MAX_SUBJECT_BYTES = 900 * 1024;
/** A batch has room for 4 MiB. */
const MAX_REGISTRATION_BYTES = 3 * 1024 * 1024;
/** Readers take ids of nine digits from what messages name. */
export const MAX_ID = 999_999_999;
/** Of int32. */
const MAX_VERSION = 2_147_483_647;

export type Registered =
  | { kind: "registered"; id: number; version: number; isNew: boolean }
  | { kind: "incompatible"; mode: Mode; found: readonly Incompatibility[] }
  | { kind: "refused"; error: RegistryError }
  | Unread;

export interface RegisterOptions {
  readonly by: string;
  readonly now: Date;
  /** Of a subject in mode IMPORT, and of no other. */
  readonly id?: number | undefined;
  /** Of a subject in mode IMPORT any that is free; of another the one that it is going to be. */
  readonly version?: number | undefined;
}

/** Keys that registering `candidate` reads in any case, beside {@linkcode settingsKeys}. */
export function keysOfRegistration(subject: string, candidate: Candidate, id?: number): Key[] {
  const { guid, references } = candidate;
  return [
    subjectKey(subject),
    guidKey(guid),
    schemaKey(id ?? idOf(guid)),
    ...new Map(references.map((it) => [it.subject, subjectKey(it.subject)])).values(),
  ];
}

/**
 * A version of `subject`: the one that has this schema, or a new one if the subject's compatibility mode lets it follow.
 * The id is the schema's, whatever the subject. Versions that are in the mode's view have to be loaded.
 */
export function register(
  view: RegistryView,
  { subject, candidate }: { subject: string; candidate: Candidate },
  options: RegisterOptions,
): Decision<Registered> {
  const doc = view.get(subjectKey(subject)) ?? create(SchemaSubjectSchema, { name: subject });
  const knownId = view.get(guidKey(candidate.guid))?.id;
  const live = doc.versions.filter(({ deleted }) => !deleted);
  const existing = live.find(({ id }) => id === knownId);
  if (existing !== undefined && (options.id ?? existing.id) === existing.id) {
    return nothing({ kind: "registered", id: existing.id, version: existing.version, isNew: false });
  }
  const mode = modeOf(view, subject);
  const error = refusal(view, { subject, candidate, doc, mode, knownId }, options);
  if (error !== undefined) return nothing({ kind: "refused", error });
  if (mode !== "IMPORT") {
    const compatibility = compatibilityOf(view, subject);
    const unread = live.filter(({ id }) => view.schema(id) === undefined).map(({ id }) => id);
    if (unread.length > 0) return nothing({ kind: "unread", ids: unread, keys: [] });
    const versions = live.map(({ version, id }) => ({ version, file: fileOf(view, id) }));
    const found = check(compatibility, candidate.file, versions);
    if (found.length > 0) return nothing({ kind: "incompatible", mode: compatibility, found });
  }
  const stored = storeSchema(view, candidate, options.id);
  if (stored.kind === "unread") return nothing(stored);
  const { id, messages } = stored;
  const version = options.version ?? nextVersion(doc);
  const { by: registeredBy, now } = options;
  const added = create(SchemaVersionSchema, {
    version,
    id,
    registeredBy,
    registeredAt: timestampFromDate(now),
  });
  const versions = [...doc.versions, added].sort((a, b) => a.version - b.version);
  const removedIds = doc.removedIds.filter((removed) => removed !== id);
  const changed = { ...doc, versions, removedIds };
  const referrer = create(SchemaReferrerSchema, { subject, version, id });
  const docs = changeReferrers(view, { changed, references: candidate.references }, (list) => [
    ...list,
    referrer,
  ]);
  const bytes = docs.reduce(
    (sum, it) => sum + toBinary(SchemaSubjectSchema, it).length,
    candidate.fileSet.length,
  );
  if (bytes > MAX_REGISTRATION_BYTES) {
    const text = `The subjects that ${JSON.stringify(subject)} imports have too many versions to be written at once`;
    return nothing({ kind: "refused", error: new RegistryError(RegistryCode.TooLarge, text) });
  }
  const full = docs.find((it) => toBinary(SchemaSubjectSchema, it).length > MAX_SUBJECT_BYTES);
  if (full !== undefined) {
    const text = `Subject ${JSON.stringify(full.name)} has as many versions and schemas that import them as it takes`;
    return nothing({ kind: "refused", error: new RegistryError(RegistryCode.TooLarge, text) });
  }
  return {
    messages: [...messages, ...docs.map(write)],
    result: { kind: "registered", id, version, isNew: true },
  };
}

function nextVersion({ versions }: SchemaSubject): number {
  return Math.max(0, ...versions.map(({ version }) => version)) + 1;
}

/** Stores a schema without making it a version of anything: for messages that nobody was asked about. */
export function store(view: RegistryView, candidate: Candidate): Decision<Omit<Placed, "messages"> | Unread> {
  const stored = storeSchema(view, candidate, undefined);
  if (stored.kind === "unread") return nothing(stored);
  const { messages, ...result } = stored;
  return { messages, result };
}

/**
 * The id of a schema, unless another one has it already: made of what the schema says, so that a registry which has lost its
 * data gives the same ids again, and messages that name them mean what they meant.
 */
export function idOf(guid: string): number {
  return (Number.parseInt(guid.slice(0, 8), 16) % MAX_ID) + 1;
}

function refusal(
  view: RegistryView,
  asked: {
    subject: string;
    candidate: Candidate;
    doc: SchemaSubject;
    mode: SubjectMode;
    knownId: number | undefined;
  },
  { id, version }: RegisterOptions,
): RegistryError | undefined {
  const { subject, candidate, doc, mode, knownId } = asked;
  const name = JSON.stringify(subject);
  if (mode === "READONLY") return notPermitted(`Subject ${name} is in read-only mode`);
  if (id !== undefined && mode !== "IMPORT") return notPermitted(`Subject ${name} is not in import mode`);
  if (id === undefined && mode === "IMPORT")
    return notPermitted(`Subject ${name} is in import mode: send an id`);
  if (id !== undefined && (knownId ?? id) !== id) {
    return new RegistryError(RegistryCode.IdMismatch, `The schema has id ${knownId} and not ${id}`);
  }
  if (id !== undefined && knownId === undefined && view.get(schemaKey(id)) !== undefined) {
    return new RegistryError(RegistryCode.IdMismatch, `Id ${id} is another schema's`);
  }
  if (version !== undefined && doc.versions.some((it) => it.version === version)) {
    return notPermitted(`Subject ${name} already has a version ${version}`);
  }
  const next = nextVersion(doc);
  if (mode !== "IMPORT" && version !== undefined && version !== next) {
    return new RegistryError(
      RegistryCode.InvalidSchema,
      `The next version of subject ${name} is ${next} and not ${version}`,
    );
  }
  if ((version ?? next) > MAX_VERSION) {
    return notPermitted(`Subject ${name} has no version left: they end at ${MAX_VERSION}`);
  }
  for (const reference of candidate.references) {
    const versions = view.get(subjectKey(reference.subject))?.versions ?? [];
    if (versions.some((it) => it.version === reference.version && !it.deleted)) continue;
    return new RegistryError(
      RegistryCode.InvalidSchema,
      `Reference ${JSON.stringify(reference.name)}: there is no version ${reference.version} of subject ${JSON.stringify(reference.subject)}`,
    );
  }
  if (doc.versions.length >= MAX_VERSIONS) {
    return new RegistryError(
      RegistryCode.TooLarge,
      `Subject ${name} has ${MAX_VERSIONS} versions, and takes no more`,
    );
  }
  return undefined;
}

/** A schema that has its id, with what is to be stored for that. */
interface Placed {
  readonly kind: "stored";
  readonly id: number;
  readonly messages: Outgoing[];
}

function storeSchema(
  view: RegistryView,
  { guid, fileSet, text, references }: Candidate,
  explicitId: number | undefined,
): Placed | Unread {
  const known = view.get(guidKey(guid))?.id;
  if (known !== undefined) return { kind: "stored", id: known, messages: [] };
  let id = explicitId ?? idOf(guid);
  // Of two schemas that come to the same id, which is one pair in a billion, the later one takes the next that is free.
  for (; explicitId === undefined; id = (id % MAX_ID) + 1) {
    const key = schemaKey(id);
    if (!view.has(key)) return { kind: "unread", ids: [], keys: [key] };
    const holder = view.get(key)?.guid;
    if (holder === undefined || holder === guid) break;
  }
  return {
    kind: "stored",
    id,
    messages: [
      message(schema, String(id), { id, guid, fileSet, text, references: [...references] }),
      message(schemaId, guid, { id }),
    ],
  };
}

function fileOf(view: RegistryView, id: number): DescFile {
  const stored = view.schema(id);
  if (stored === undefined) throw new ReferenceError(`Cannot compare with schema ${id}: it was not loaded`);
  return stored.file;
}
