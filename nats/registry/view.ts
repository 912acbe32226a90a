import type { DescFile, DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { SchemaSubject, SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import type { Reference } from "../../schemas/mod.ts";
import { type Key, message, type Outgoing } from "../contracts/contract.ts";
import type { Decision } from "../task.ts";
import { schemaSubject, subjectKey, tokenOf } from "./bucket.ts";

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

type Referrers = SchemaVersion["referrers"];

/** `changed`, and the other subjects that `references` name, with the referrers of the versions that are meant changed. */
export function changeReferrers(
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

/** Stores a subject with its versions. */
export function write(doc: SchemaSubject): Outgoing {
  return message(schemaSubject, tokenOf(doc.name), doc);
}

/** Nothing is stored. */
export function nothing<T>(result: T): Decision<T> {
  return { messages: [], result };
}
