import type { DescFile } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import {
  check,
  compare,
  compareMessages,
  describe,
  type Incompatibility,
  type Mode,
} from "../../schemas/mod.ts";
import type { Contract } from "../contracts/contract.ts";
import { topology as shop, streamHolding, type Topology } from "../topology.ts";
import { importedFiles } from "./keys.ts";
import { findRetained, liveSchemas } from "./living.ts";
import { findMessage } from "./read_gate.ts";
import { consumersOnServer, readersOf } from "./readers.ts";
import { compatibilityOf } from "./settings.ts";
import type { SchemaStore } from "./store.ts";

/** Why the schema of one subject is refused. */
export interface Refusal {
  readonly subject: string;
  readonly mode: Mode;
  /** One line for each version or waiting state that it does not go with, with each difference. */
  readonly reasons: readonly string[];
  /** Who reads the subject's messages, and so would break. */
  readonly readers: readonly string[];
}

/** What a subject's schema has been, deleted versions too, oldest first. */
interface History {
  readonly mode: Mode;
  readonly versions: readonly { version: SchemaVersion; file: DescFile }[];
}

/** Why a file must not be the next version of its own subject, which is its path; undefined if it may be. */
export async function inspectImport(
  store: SchemaStore,
  file: DescFile,
  { topology = shop }: { topology?: Topology } = {},
): Promise<Refusal | undefined> {
  const subject = file.proto.name;
  const history = await historyOf(store, subject);
  const found = history === undefined || isVersion(history, file) ? [] : faultsOf(history, file);
  if (history === undefined || found.length === 0) return undefined;
  const carriers = (topology.contracts ?? []).filter(({ schema }) =>
    importedFiles(schema.file).some(isNamed(subject)),
  );
  const readers = [...new Set(carriers.flatMap((contract) => readersOf(contract, { topology })))];
  return { subject, mode: history.mode, reasons: linesOf(history, found), readers };
}

/**
 * Why a contract's schema must not be what the subject's messages look like from now on; undefined if it may be.
 *
 * A schema that already is one of the versions may be used again, as by an instance of before that starts again beside a
 * newer one, unless what waits by now could not be read with it.
 *
 * @param options.file The schema's file. Default: what this process was compiled against.
 */
export async function inspectSchema(
  { jsm, store }: { jsm: JetStreamManager; store: SchemaStore },
  contract: Contract,
  { topology = shop, file = contract.schema.file }: { topology?: Topology; file?: DescFile } = {},
): Promise<Refusal | undefined> {
  const { subject } = contract;
  const stream = streamHolding(contract, topology)?.name;
  const history = await historyOf(store, subject);
  if (history === undefined || stream === undefined || isLatest(history, file)) return undefined;
  const reasons: string[] = [];
  if (!isVersion(history, file)) {
    const found = faultsOf(history, file);
    const told = new Set(
      found.filter(({ direction }) => direction === "backward").map(({ version }) => version),
    );
    reasons.push(
      ...linesOf(history, found),
      ...(await retainedReasons({ jsm, stream, contract, file }, history, told)),
    );
  }
  for (const spec of topology.live ?? []) {
    if (spec.state !== contract) continue;
    for (const [id, count] of await liveSchemas(jsm, stream, spec)) {
      // A state of before schemas had ids tells nothing; it is read as it always was.
      const stored = id === 0 ? undefined : await store.schema(id);
      const lost = stored === undefined ? [] : unreadable(stored.file, file, contract);
      if (lost.length > 0) reasons.push(`${count} ${spec.what} hold schema ${id}: ${lost.join("; ")}`);
    }
  }
  // With NONE, somebody has said that nobody is to be held up.
  if (reasons.length === 0 || history.mode === "NONE") return undefined;
  const onServer = await consumersOnServer(jsm, stream);
  return { subject, mode: history.mode, reasons, readers: readersOf(contract, { topology, onServer }) };
}

/** The mode that holds for a subject. */
export async function compatibilityIn(store: SchemaStore, subject: string): Promise<Mode> {
  return compatibilityOf(await store.settings(subject), subject);
}

/**
 * What a reader of `after` cannot read of a contract's messages that were written with `before`: a line for each difference.
 * Whatever else is in their files breaks nobody.
 */
export function unreadable(before: DescFile, after: DescFile, contract: Contract): string[] {
  const [written, read] = [before, after].map((file) => findMessage(file, contract.schema));
  if (written === undefined || read === undefined) return [`${contract.schema.typeName} is not in both`];
  return compareMessages(written, read)
    .filter(({ compatible }) => !compatible)
    .map(({ type, path }) => `${type} at ${path}`);
}

async function historyOf(store: SchemaStore, subject: string): Promise<History | undefined> {
  const doc = await store.subject(subject);
  if (doc === undefined) return undefined;
  const versions = await Promise.all(
    doc.versions.map(async (version) => ({ version, file: await fileIn(store, version) })),
  );
  return { mode: await compatibilityIn(store, subject), versions };
}

async function fileIn(store: SchemaStore, { id, version }: SchemaVersion): Promise<DescFile> {
  const stored = await store.schema(id);
  if (stored === undefined)
    throw new Error(`Cannot compare with version ${version}: schema ${id} is not there`);
  return stored.file;
}

function liveVersions({ versions }: History): History["versions"] {
  return versions.filter(({ version }) => !version.deleted);
}

function isVersion(history: History, file: DescFile): boolean {
  return liveVersions(history).some((version) => compare(version.file, file).length === 0);
}

function isLatest(history: History, file: DescFile): boolean {
  const latest = liveVersions(history).at(-1);
  return latest !== undefined && compare(latest.file, file).length === 0;
}

function faultsOf(history: History, file: DescFile): Incompatibility[] {
  const versions = liveVersions(history).map((it) => ({ version: it.version.version, file: it.file }));
  return check(history.mode, file, versions);
}

function linesOf({ mode }: History, found: readonly Incompatibility[]): string[] {
  return found.map((it) => `${mode}, ${describe(it)}`);
}

/** Whatever the mode looks at, what is retained will be read again: by a replay, or by whoever waits for it. */
async function retainedReasons(
  {
    jsm,
    stream,
    contract,
    file,
  }: { jsm: JetStreamManager; stream: string; contract: Contract; file: DescFile },
  { versions }: History,
  told: ReadonlySet<number>,
): Promise<string[]> {
  const reasons: string[] = [];
  for (const { version, file: old } of versions) {
    const lost = told.has(version.version) ? [] : unreadable(old, file, contract);
    if (lost.length === 0) continue;
    const retained = await findRetained(jsm, stream, { contract, version });
    if (retained === undefined) continue;
    const { seq, storedAt } = retained;
    const where = `message ${seq} of ${stream}, ${storedAt.toISOString()}`;
    reasons.push(`retained, version ${version.version} (${where}): ${lost.join("; ")}`);
  }
  return reasons;
}

function isNamed(path: string): (file: DescFile) => boolean {
  return ({ proto }) => proto.name === path;
}
