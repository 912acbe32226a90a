import { fromBinary } from "@bufbuild/protobuf";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type SchemaSubject,
  SchemaSubjectSchema,
  type SchemaVersion,
} from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { readPage, SCHEMAS_STREAM, schemaSubject } from "../../nats/mod.ts";

/** A version with the subject that it is one of. */
export interface SubjectVersion {
  readonly subject: string;
  readonly version: SchemaVersion;
}

/**
 * All subjects, for lists: a bucket has no question of its own for them. Kept in memory and brought up to date before each
 * answer by what was written since. A moment old at most; decisions are made by the store.
 */
export class Mirror {
  readonly #connection: NatsConnection;
  readonly #subjects = new Map<string, SchemaSubject>();
  #from = 1;
  #refreshing: Promise<void> | undefined;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  /** Every subject that has a version, by name. */
  async subjects(): Promise<SchemaSubject[]> {
    await this.#refresh();
    return [...this.#subjects.values()]
      .filter(({ versions }) => versions.length > 0)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The versions that have the schema of an id, and whether it was deleted for good and is nobody's any more. */
  async usesOf(id: number): Promise<{ uses: SubjectVersion[]; gone: boolean }> {
    const subjects = await this.subjects();
    const uses = subjects.flatMap(({ name: subject, versions }) => {
      return versions.filter((version) => version.id === id).map((version) => ({ subject, version }));
    });
    const removed = [...this.#subjects.values()].some(({ removedIds }) => removedIds.includes(id));
    return { uses, gone: uses.length === 0 && removed };
  }

  /** Those who ask meanwhile wait for the next one: the one under way may have missed what they have just written. */
  async #refresh(): Promise<void> {
    await this.#refreshing?.catch(() => undefined);
    this.#refreshing ??= this.#read().finally(() => {
      this.#refreshing = undefined;
    });
    await this.#refreshing;
  }

  async #read(): Promise<void> {
    for (;;) {
      const subject = `${schemaSubject.subject}.*`;
      const { messages, pending } = await readPage(this.#connection, SCHEMAS_STREAM, {
        subject,
        from: this.#from,
      });
      for (const { data, seq } of messages) {
        const doc = fromBinary(SchemaSubjectSchema, data);
        this.#subjects.set(doc.name, doc);
        this.#from = seq + 1;
      }
      if (pending === 0) return;
    }
  }
}
