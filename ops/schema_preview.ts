import type { DescFile } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type Contract,
  compatibilityIn,
  consumersOnServer,
  importedFiles,
  inspectImport,
  inspectSchema,
  liveSchemas,
  readersOf,
  readPage,
  type SchemaStore,
  schemaIdIn,
  streamHolding,
  topology,
  unreadable,
} from "../nats/mod.ts";
import {
  check,
  compare,
  describeDifference,
  type FileSet,
  type Mode,
  modes,
  type Version,
} from "../schemas/mod.ts";

export interface PreviewSource {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly store: SchemaStore;
}

/** What a change of one subject's schema would mean, here and now. */
export interface Preview {
  readonly subject: string;
  /** The mode that holds for the subject, and why a service with this schema would not start; empty: it would. */
  readonly mode: Mode;
  readonly refused: readonly string[];
  /** What differs from the latest version, compatible or not: `FIELD_ADDED at #/OrderCreated/5 (nothing → …)`. */
  readonly differences: readonly string[];
  /** For each mode, how many differences keep the schema from being the next version. */
  readonly modes: Readonly<Record<Mode, number>>;
  readonly readers: readonly string[];
  /** Retained messages by the schema that they name, and whether the new schema could read them. */
  readonly retained: readonly SchemaCount[];
  /** What waits for a person or a deadline, likewise. */
  readonly waiting: readonly (SchemaCount & { readonly what: string })[];
  /** Whether there were more messages than were looked at. */
  readonly partly: boolean;
}

export interface SchemaCount {
  /** Undefined: the messages name none that the registry has. */
  readonly id: number | undefined;
  /** Of the subject's versions, the one with this schema. */
  readonly version: number | undefined;
  readonly count: number;
  /** Undefined: that cannot be told. */
  readonly readable: boolean | undefined;
}

export interface PreviewOptions {
  /** Messages of each subject that are looked at, at most. */
  readonly maxMessages: number;
  /** Told of each page of messages: how many have been looked at, and how many are left. */
  readonly onPage?: (subject: string, looked: number, left: number) => void;
}

/**
 * Every subject whose messages the candidate changes, compared with what is registered, retained, waiting and consumed.
 * A message that is gone from the candidate is one that nobody can read any more.
 */
export async function* previewChange(
  source: PreviewSource,
  candidate: FileSet,
  options: PreviewOptions,
): AsyncGenerator<Preview> {
  for (const contract of topology.contracts ?? []) {
    const file = candidate.getMessage(contract.schema.typeName)?.file;
    const versions = await versionsOf(source.store, contract.subject);
    const latest = versions.at(-1);
    if (latest === undefined) continue;
    const differences = file === undefined ? undefined : compare(latest.file, file);
    if (differences?.length === 0) continue;
    yield await preview(source, { contract, file, versions }, options);
  }
  for (const file of importsOf(candidate)) {
    const versions = await versionsOf(source.store, file.proto.name);
    const latest = versions.at(-1);
    if (latest === undefined || compare(latest.file, file).length === 0) continue;
    yield await previewImport(source, { file, versions });
  }
}

/** What the candidate's messages import, each file once. */
function importsOf(candidate: FileSet): DescFile[] {
  const files = (topology.contracts ?? []).flatMap(({ schema }) => {
    const file = candidate.getMessage(schema.typeName)?.file;
    return file === undefined ? [] : importedFiles(file);
  });
  return [...new Set(files)];
}

/** An import has a subject of its own, and is in no stream by itself. */
async function previewImport(
  { store }: PreviewSource,
  { file, versions }: Pick<Change, "versions"> & { file: DescFile },
): Promise<Preview> {
  const subject = file.proto.name;
  const refusal = await inspectImport(store, file);
  const carriers = (topology.contracts ?? []).filter(({ schema }) => {
    return importedFiles(schema.file).some(({ proto }) => proto.name === subject);
  });
  return {
    subject,
    mode: await compatibilityIn(store, subject),
    refused: refusal?.reasons ?? [],
    differences: compare(versions.at(-1)?.file ?? file, file).map((it) => describeDifference(it)),
    modes: faultsByMode({ file, versions }),
    readers: [...new Set(carriers.flatMap((contract) => readersOf(contract)))],
    retained: [],
    waiting: [],
    partly: false,
  };
}

interface Change {
  readonly contract: Contract;
  /** Undefined if the message is gone. */
  readonly file: DescFile | undefined;
  readonly versions: readonly (Version & { id: number })[];
}

async function preview(source: PreviewSource, change: Change, options: PreviewOptions): Promise<Preview> {
  const { jsm, store } = source;
  const { contract, file, versions } = change;
  const { subject } = contract;
  const stream = streamHolding(contract)?.name ?? "";
  const latest = versions.at(-1);
  const refusal = file && (await inspectSchema({ jsm, store }, contract, { file }));
  const { counts, partly } = await countRetained(source, { contract, stream }, options);
  const waiting = await Promise.all(
    (topology.live ?? [])
      .filter(({ state }) => state === contract)
      .map(async (spec) => {
        const held = await judged(source.store, change, await liveSchemas(jsm, stream, spec));
        return held.map((it) => ({ what: spec.what, ...it }));
      }),
  );
  return {
    subject,
    mode: await compatibilityIn(store, subject),
    refused: file === undefined ? [`${contract.schema.typeName} is gone`] : (refusal?.reasons ?? []),
    differences: latest && file ? compare(latest.file, file).map((it) => describeDifference(it)) : [],
    modes: faultsByMode(change),
    readers: readersOf(contract, { onServer: await consumersOnServer(jsm, stream) }),
    retained: await judged(store, change, counts),
    waiting: waiting.flat(),
    partly,
  };
}

function faultsByMode({ file, versions }: Pick<Change, "file" | "versions">): Record<Mode, number> {
  const faults = (mode: Mode) => {
    if (file === undefined) return mode === "NONE" ? 0 : 1;
    return check(mode, file, versions).reduce((sum, { differences }) => sum + differences.length, 0);
  };
  return Object.fromEntries(modes.map((mode) => [mode, faults(mode)])) as Record<Mode, number>;
}

async function versionsOf(store: SchemaStore, subject: string): Promise<(Version & { id: number })[]> {
  const live = (await store.subject(subject))?.versions.filter(({ deleted }) => !deleted) ?? [];
  const found = await Promise.all(
    live.map(async ({ version, id }) => {
      const stored = await store.schema(id);
      return stored && { version, id, file: stored.file };
    }),
  );
  return found.filter((it) => it !== undefined);
}

/** How many retained messages of a contract name each schema, 0 standing for none that can be told. */
async function countRetained(
  { connection }: PreviewSource,
  { contract, stream }: { contract: Contract; stream: string },
  { maxMessages, onPage }: PreviewOptions,
): Promise<{ counts: Map<number, number>; partly: boolean }> {
  const counts = new Map<number, number>();
  let looked = 0;
  for (let from = 1; ; ) {
    const page = await readPage(connection, stream, { subject: `${contract.subject}.>`, from });
    for (const { headers } of page.messages) {
      const id = schemaIdIn(headers.get("ce-dataschema")) ?? 0;
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    looked += page.messages.length;
    onPage?.(contract.subject, looked, page.pending);
    if (page.pending === 0) return { counts, partly: false };
    if (looked >= maxMessages) return { counts, partly: true };
    from = (page.messages.at(-1)?.seq ?? from) + 1;
  }
}

async function judged(
  store: SchemaStore,
  { contract, file, versions }: Change,
  counts: ReadonlyMap<number, number>,
): Promise<SchemaCount[]> {
  return Promise.all(
    [...counts].map(async ([id, count]) => {
      const stored = id === 0 ? undefined : await store.schema(id);
      const readable = stored && file !== undefined && unreadable(stored.file, file, contract).length === 0;
      const version = versions.find((it) => it.id === id)?.version;
      return { id: stored?.id, version, count, readable };
    }),
  );
}
