import { create, type DescFile, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { SchemaIdSchema } from "../../gen/shop/registry/v1/schema_id_pb.ts";
import type { SchemaSettingsSchema } from "../../gen/shop/registry/v1/schema_settings_pb.ts";
import {
  SchemaReferrerSchema,
  type SchemaSubject,
  SchemaSubjectSchema,
  type SchemaVersion,
  SchemaVersionSchema,
} from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { check, type Incompatibility, type Mode, type Reference } from "../../schemas/mod.ts";
import { type Key, message, type Outgoing } from "../contracts/contract.ts";
import type { Decision } from "../task.ts";
import {
  globalSettingsKey,
  lastIdKey,
  schema,
  schemaId,
  schemaSubject,
  settingsKey,
  subjectKey,
  tokenOf,
} from "./bucket.ts";
import { RegistryCode, RegistryError } from "./errors.ts";

/** Streams are replayed, so any version that is retained may be read. */
export const DEFAULT_COMPATIBILITY = "BACKWARD_TRANSITIVE" satisfies Mode;

/** Whether a subject takes new versions, and with ids of whose choice. */
export const subjectModes = ["READWRITE", "READONLY", "IMPORT"] as const;
export type SubjectMode = (typeof subjectModes)[number];

/** Versions that one subject may have. Each is looked at when the next one is checked. */
export const MAX_VERSIONS = 1_000;
/** A subject with its versions and their referrers has to fit into one message of the server (1 MB). */
const MAX_SUBJECT_BYTES = 900 * 1024;
/** Readers take ids of nine digits from what messages name. */
export const MAX_ID = 999_999_999;
/** Of int32. */
const MAX_VERSION = 2_147_483_647;

/** A schema as it is stored, with what it imports. */
export interface StoredSchema {
  readonly id: number;
  readonly guid: string;
  readonly file: DescFile;
  /** As it was registered, empty if it was registered as a descriptor. */
  readonly text: string;
  readonly references: readonly Reference[];
}

/** A schema that somebody wants to register. */
export interface Candidate extends Omit<StoredSchema, "id"> {
  /** {@linkcode file} and its imports: a `google.protobuf.FileDescriptorSet`. */
  readonly fileSet: Uint8Array;
}

/** What a decision sees: the keys that were read, and the schemas, which never change, that were loaded. */
export interface RegistryView {
  /** Whether the key was read. */
  has(key: Key): boolean;
  /** @throws {ReferenceError} If the key was not read. */
  get<S extends DescMessage>(key: Key<S>): MessageShape<S> | undefined;
  /** Undefined if it was not loaded. */
  schema(id: number): StoredSchema | undefined;
}

/** What a decision still has to see. */
export interface Unread {
  readonly kind: "unread";
  readonly ids: readonly number[];
  readonly keys: readonly Key[];
}

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
    { subject: `${schemaId.subject}.${guid}`, contract: schemaId },
    lastIdKey,
    ...(id === undefined ? [] : [schemaKey(id)]),
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
  const { id, messages } = storeSchema(view, candidate, options.id);
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
export function store(view: RegistryView, candidate: Candidate): Decision<number> {
  const { id, messages } = storeSchema(view, candidate, undefined);
  return { messages, result: id };
}

export type Deleted =
  | { kind: "deleted"; versions: readonly number[] }
  | { kind: "refused"; error: RegistryError }
  | Unread;

/**
 * Deletes one version, or all. First softly: nothing is registered against it any more, and who asks for it still gets it.
 * Then for good (`permanent`). A version that others import stays.
 */
export function remove(
  view: RegistryView,
  subject: string,
  { version, permanent = false }: { version?: number | undefined; permanent?: boolean },
): Decision<Deleted> {
  const doc = view.get(subjectKey(subject));
  const chosen = doc?.versions.filter((it) => version === undefined || it.version === version) ?? [];
  const error = deletionRefusal(view, { subject, version, permanent, chosen, doc });
  if (doc === undefined || error !== undefined) {
    return nothing({ kind: "refused", error: error ?? subjectNotFound(subject) });
  }
  const affected = chosen.filter(({ deleted }) => deleted === permanent);
  const ids = affected.map(({ id }) => id).filter((id) => view.schema(id) === undefined);
  if (ids.length > 0) return nothing({ kind: "unread", ids, keys: [] });
  const references = permanent ? [] : affected.flatMap(({ id }) => view.schema(id)?.references ?? []);
  const keys = references.map((reference) => subjectKey(reference.subject));
  const unread = keys.filter((key) => !view.has(key));
  if (unread.length > 0) return nothing({ kind: "unread", ids: [], keys: unread });
  const gone = new Set(affected.map((it) => it.version));
  const versions = permanent
    ? doc.versions.filter((it) => !gone.has(it.version))
    : doc.versions.map((it) => (gone.has(it.version) ? { ...it, deleted: true } : it));
  const removedIds = permanent
    ? [...new Set([...doc.removedIds, ...affected.map(({ id }) => id)])]
    : doc.removedIds;
  const isMine = (it: { subject: string; version: number }) => it.subject === subject && gone.has(it.version);
  const changed = { ...doc, versions, removedIds };
  const docs = changeReferrers(view, { changed, references }, (list) => list.filter((it) => !isMine(it)));
  return { messages: docs.map(write), result: { kind: "deleted", versions: [...gone] } };
}

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
  if (knownId === undefined && (id ?? nextId(view)) > MAX_ID) {
    return notPermitted(`No id is left: they end at ${MAX_ID}`);
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

function deletionRefusal(
  view: RegistryView,
  asked: {
    subject: string;
    version: number | undefined;
    permanent: boolean;
    chosen: readonly SchemaVersion[];
    doc: SchemaSubject | undefined;
  },
): RegistryError | undefined {
  const { subject, version, permanent, chosen, doc } = asked;
  const name = JSON.stringify(subject);
  if (doc === undefined || doc.versions.length === 0) return subjectNotFound(subject);
  if (chosen.length === 0) return versionNotFound(version ?? 0);
  if (modeOf(view, subject) === "READONLY") return notPermitted(`Subject ${name} is in read-only mode`);
  const { SubjectSoftDeleted, SubjectNotSoftDeleted, VersionSoftDeleted, VersionNotSoftDeleted } =
    RegistryCode;
  const what = version === undefined ? `Subject ${name}` : `Subject ${name} Version ${version}`;
  if (!permanent && chosen.every(({ deleted }) => deleted)) {
    const code = version === undefined ? SubjectSoftDeleted : VersionSoftDeleted;
    return new RegistryError(code, `${what} was soft deleted. Set permanent=true to delete permanently`);
  }
  if (permanent && chosen.some(({ deleted }) => !deleted)) {
    const code = version === undefined ? SubjectNotSoftDeleted : VersionNotSoftDeleted;
    return new RegistryError(code, `${what} was not deleted first before being permanently deleted`);
  }
  const chosenVersions = new Set(chosen.map((it) => it.version));
  for (const it of chosen) {
    const others = it.referrers.filter((by) => by.subject !== subject || !chosenVersions.has(by.version));
    const [first] = others;
    if (first === undefined) continue;
    return new RegistryError(
      RegistryCode.ReferenceExists,
      `One or more references exist to ${name} version ${it.version}: ${JSON.stringify(first.subject)} version ${first.version}`,
    );
  }
  return undefined;
}

function storeSchema(
  view: RegistryView,
  { guid, fileSet, text, references }: Candidate,
  explicitId: number | undefined,
): { id: number; messages: Outgoing[] } {
  const known = view.get(guidKey(guid))?.id;
  if (known !== undefined) return { id: known, messages: [] };
  const next = nextId(view);
  const id = explicitId ?? next;
  return {
    id,
    messages: [
      message(lastIdKey.contract, "schema", { id: Math.max(next - 1, id) }),
      message(schema, String(id), { id, guid, fileSet, text, references: [...references] }),
      message(schemaId, guid, { id }),
    ],
  };
}

function nextId(view: RegistryView): number {
  return (view.get(lastIdKey)?.id ?? 0) + 1;
}

type Referrers = SchemaVersion["referrers"];

/** `changed`, and the other subjects that `references` name, with the referrers of the versions that are meant changed. */
function changeReferrers(
  view: RegistryView,
  { changed, references }: { changed: SchemaSubject; references: readonly Reference[] },
  change: (referrers: Referrers) => Referrers,
): SchemaSubject[] {
  // A version may import an earlier one of its own subject: that is one document, not two.
  const docs = new Map([[changed.name, changed]]);
  for (const [subject, list] of Map.groupBy(references, (it) => it.subject)) {
    const doc = docs.get(subject) ?? view.get(subjectKey(subject));
    if (doc === undefined) continue;
    const chosen = new Set(list.map(({ version }) => version));
    const versions = doc.versions.map((it) => {
      return chosen.has(it.version) ? { ...it, referrers: change(it.referrers) } : it;
    });
    docs.set(subject, { ...doc, versions });
  }
  return [...docs.values()];
}

function write(doc: SchemaSubject): Outgoing {
  return message(schemaSubject, tokenOf(doc.name), doc);
}

function fileOf(view: RegistryView, id: number): DescFile {
  const stored = view.schema(id);
  if (stored === undefined) throw new ReferenceError(`Cannot compare with schema ${id}: it was not loaded`);
  return stored.file;
}

export function guidKey(guid: string): Key<typeof SchemaIdSchema> {
  return { subject: `${schemaId.subject}.${guid}`, contract: schemaId };
}

export function schemaKey(id: number): Key<typeof schema.schema> {
  return { subject: `${schema.subject}.${id}`, contract: schema };
}

function nothing<T>(result: T): Decision<T> {
  return { messages: [], result };
}

export function subjectNotFound(subject: string): RegistryError {
  return new RegistryError(RegistryCode.SubjectNotFound, `Subject ${JSON.stringify(subject)} not found`);
}

export function versionNotFound(version: number): RegistryError {
  return new RegistryError(RegistryCode.VersionNotFound, `Version ${version} not found`);
}

function notPermitted(text: string): RegistryError {
  return new RegistryError(RegistryCode.NotPermitted, text);
}
