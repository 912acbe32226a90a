import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { NatsConnection } from "@nats-io/transport-node";
import type { SchemaSchema } from "../../gen/shop/registry/v1/schema_pb.ts";
import type { SchemaSubject } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { fromFileSet } from "../../schemas/mod.ts";
import type { Log } from "../connection.ts";
import type { Key } from "../contracts/contract.ts";
import { Ledger } from "../ledger.ts";
import type { Decision, View } from "../task.ts";
import { newTrace } from "../trace.ts";
import { SCHEMAS_STREAM, schemaKey, subjectKey } from "./bucket.ts";
import { keysOfRegistration, type Registered, type RegisterOptions, register, store } from "./register.ts";
import { type Deleted, remove } from "./remove.ts";
import { settingsKeys } from "./settings.ts";
import type { Candidate, RegistryView, StoredSchema, Unread } from "./view.ts";

/** Schemas kept in memory, some kilobytes each. They never change. */
const MAX_CACHED = 2_000;

/**
 * The registry's data, as every process with a credential for it reads and writes it. Any number of them may do so at
 * once: what is decided is committed under the guard of what it was decided on, and decided again, the check included,
 * where somebody else was faster.
 *
 * All of it waits for the servers as long as it takes, unless `signal` says otherwise.
 */
export class SchemaStore implements AsyncDisposable {
  readonly #ledger: Ledger;
  readonly #schemas = new Map<number, StoredSchema>();

  constructor(connection: NatsConnection, { source, log }: { source: string; log: Log }) {
    this.#ledger = new Ledger(connection, { stream: SCHEMAS_STREAM, source, log });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#ledger.shutdown();
  }

  /** Makes `candidate` a version of `subject`, if it may be one (see {@linkcode register}). */
  register(
    subject: string,
    candidate: Candidate,
    options: RegisterOptions & { signal?: AbortSignal },
  ): Promise<Exclude<Registered, Unread>> {
    const keys = keysOfRegistration(subject, candidate, options.id);
    return this.#decideFor(subject, keys, (view) => register(view, { subject, candidate }, options), options);
  }

  /** Stores a schema that is no version of anything, and resolves with its id. */
  store(candidate: Candidate, options: { signal?: AbortSignal } = {}): Promise<number> {
    const keys = keysOfRegistration("none", { ...candidate, references: [] });
    return this.#decide(keys, (view) => store(view, candidate), options).then(({ id }) => id);
  }

  /** Deletes a version of `subject`, or all of them (see {@linkcode remove}). */
  remove(
    subject: string,
    options: { version?: number | undefined; permanent?: boolean; signal?: AbortSignal },
  ): Promise<Exclude<Deleted, Unread>> {
    return this.#decideFor(subject, [subjectKey(subject)], (view) => remove(view, subject, options), options);
  }

  /** Carries out any other decision on the registry's keys. */
  change<T extends { kind: string }>(
    keys: readonly Key[],
    decide: (view: RegistryView) => Decision<T>,
    options: { signal?: AbortSignal } = {},
  ): Promise<Exclude<T, Unread>> {
    return this.#decide(keys, decide, options);
  }

  /** What the leader has of a subject, undefined if nothing was ever registered for it. */
  async subject(name: string): Promise<SchemaSubject | undefined> {
    return (await this.#ledger.read(subjectKey(name))).value;
  }

  /** What the leader has under a key. */
  async read<S extends DescMessage>(key: Key<S>): Promise<MessageShape<S> | undefined> {
    return (await this.#ledger.read(key)).value;
  }

  /** The settings of a subject and of all, as the leader has them, to be looked at as a decision would. */
  async settings(subject: string): Promise<Pick<RegistryView, "get">> {
    const keys = settingsKeys(subject);
    const values = new Map(
      await Promise.all(keys.map(async (key) => [key.subject, await this.read(key)] as const)),
    );
    return { get: (key: Key) => values.get(key.subject) as never };
  }

  /** The schema of an id, undefined if there is none. */
  async schema(id: number): Promise<StoredSchema | undefined> {
    const cached = this.#schemas.get(id);
    if (cached !== undefined) return cached;
    const { value } = await this.#ledger.read(schemaKey(id));
    if (value === undefined) return undefined;
    const stored = toStored(value);
    this.#schemas.set(id, stored);
    if (this.#schemas.size > MAX_CACHED) this.#schemas.delete(this.#schemas.keys().next().value ?? id);
    return stored;
  }

  /**
   * What a decision reads and does not write has no guard, and a ledger may have it in memory for some seconds: the settings
   * are read from the leader each time, so that one that was set holds for whoever comes next, in any process.
   */
  async #decideFor<T extends { kind: string }>(
    subject: string,
    keys: readonly Key[],
    decide: (view: RegistryView) => Decision<T>,
    options: { signal?: AbortSignal },
  ): Promise<Exclude<T, Unread>> {
    const settings = await this.settings(subject);
    const own = new Set(settingsKeys(subject).map((key) => key.subject));
    const get = (view: RegistryView, key: Key) => (own.has(key.subject) ? settings : view).get(key);
    return this.#decide(keys, (view) => decide({ ...view, get: (key) => get(view, key) as never }), options);
  }

  async #decide<T extends { kind: string }>(
    first: readonly Key[],
    decide: (view: RegistryView) => Decision<T>,
    { signal }: { signal?: AbortSignal },
  ): Promise<Exclude<T, Unread>> {
    let keys = first;
    const loaded = new Map<number, StoredSchema>();
    for (;;) {
      const task = { keys, trace: newTrace(), decide: (view: View) => decide(toView(view, keys, loaded)) };
      const result: T | Unread = await this.#ledger.execute(task, signal && { signal });
      if (!isUnread(result)) return result as Exclude<T, Unread>;
      for (const id of result.ids) {
        const stored = await this.schema(id);
        if (stored === undefined) throw new Error(`Cannot decide: schema ${id} of a version is not there`);
        loaded.set(id, stored);
      }
      keys = [...keys, ...result.keys];
    }
  }
}

function isUnread(result: { kind: string }): result is Unread {
  return result.kind === "unread";
}

function toView(view: View, keys: readonly Key[], loaded: ReadonlyMap<number, StoredSchema>): RegistryView {
  return {
    has: ({ subject }) => keys.some((key) => key.subject === subject),
    get: ({ subject, contract }) => view.get(contract, subject.slice(contract.subject.length + 1)),
    schema: (id) => loaded.get(id),
  };
}

function toStored({ id, guid, fileSet, text, references }: MessageShape<typeof SchemaSchema>): StoredSchema {
  const file = fromFileSet(fromBinary(FileDescriptorSetSchema, fileSet));
  return { id, guid, file, text, references };
}
