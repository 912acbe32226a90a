import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import {
  check,
  compare,
  type Difference,
  describe,
  type Mode,
  type Reference,
  schemaGuid,
  toFileSet,
} from "../../schemas/mod.ts";
import type { Log } from "../connection.ts";
import type { Contract } from "../contracts/contract.ts";
import { publishedBy, topology as shop, type Topology } from "../topology.ts";
import { globalSettingsKey, settingsKey } from "./bucket.ts";
import { directImports, importedFiles } from "./keys.ts";
import { findRetained, liveSchemas } from "./living.ts";
import { dataSchemaOf } from "./read_gate.ts";
import { consumersOnServer, readersOf } from "./readers.ts";
import { compatibilityOf } from "./settings.ts";
import type { SchemaStore } from "./store.ts";
import type { Candidate } from "./view.ts";

/** A service must not start: what it would store breaks somebody. The message names subject, mode, differences and readers. */
export class SchemaRefusedError extends Error {
  override name = "SchemaRefusedError";
}

export interface StartGateOptions {
  readonly service: string;
  /** Base URL of the registry, under which messages name their schemas. Nobody has to answer there. */
  readonly registryUrl: string;
  /** Whether what is refused is only warned of. Default false. */
  readonly off?: boolean;
  readonly log: Log;
  /** Default: the shop's. */
  readonly topology?: Topology;
  readonly signal?: AbortSignal;
}

/** Why the schema of one subject is refused. */
export interface Refusal {
  readonly subject: string;
  readonly mode: Mode;
  /** One line for each version or waiting state that it does not go with, with each difference. */
  readonly reasons: readonly string[];
  /** Who reads the subject's messages, and so would break. */
  readonly readers: readonly string[];
}

/**
 * Registers the schemas of all that a service stores, before it stores any of it, and resolves with the `ce-dataschema` of
 * each contract's messages. All of them are checked before the first is registered: against the versions that the subject's
 * compatibility mode looks at, against those that retained messages were written with, and against what waiting entities
 * hold. Safe to repeat: what is registered is found again.
 *
 * Needs the registry's data and not its process.
 *
 * @throws {Error} If the data cannot be read or written now. Try again.
 * @throws {SchemaRefusedError} If one of them is refused, unless the gate is `off`: then that one is stored without being a
 * version of its subject, so that whoever reads its messages can tell.
 */
export async function passStartGate(
  { jsm, store }: { jsm: JetStreamManager; store: SchemaStore },
  options: StartGateOptions,
): Promise<ReadonlyMap<Contract, string>> {
  const { service, registryUrl, off = false, log, topology = shop, signal } = options;
  const published = publishedBy(service, topology);
  const inspected = await Promise.all(
    published.map((contract) => inspectSchema({ jsm, store }, contract, { topology })),
  );
  const refusals = inspected.filter((refusal) => refusal !== undefined);
  if (refusals.length > 0 && !off) throw new SchemaRefusedError(refusedText(service, refusals));
  for (const refusal of refusals) log.warn({ ...refusal }, `SCHEMA_GATE=off: ${refusalText(refusal)}`);
  const refused = new Set(refusals.map(({ subject }) => subject));

  const imports = new Map<string, Reference>();
  const by = { by: service, ...(signal && { signal }) };
  for (const file of new Set(published.flatMap(({ schema }) => importedFiles(schema.file)))) {
    const { name } = file.proto;
    const result = await store.register(name, candidateOf(file, imports), { ...by, now: new Date() });
    if (result.kind === "registered") imports.set(name, { name, subject: name, version: result.version });
    else if (!off) throw refusedBy(service, name, result, topology);
    else log.warn({ subject: name, ...result }, `SCHEMA_GATE=off: ${name} is refused`);
  }
  const urls = await Promise.all(
    published.map(async (contract): Promise<[Contract, string]> => {
      const { subject, schema } = contract;
      const candidate = candidateOf(schema.file, imports);
      if (
        off &&
        (refused.has(subject) || directImports(schema.file).some(({ proto }) => !imports.has(proto.name)))
      ) {
        return [contract, dataSchemaOf(registryUrl, await store.store(candidate, by))];
      }
      const result = await store.register(subject, candidate, { ...by, now: new Date() });
      if (result.kind !== "registered") throw refusedBy(service, subject, result, topology);
      return [contract, dataSchemaOf(registryUrl, result.id)];
    }),
  );
  return new Map(urls);
}

/** A file as what a process was compiled against. Imports that are not registered are left out of its references. */
export function candidateOf(file: DescFile, imports: ReadonlyMap<string, Reference>): Candidate {
  const references = directImports(file).flatMap(({ proto }) => imports.get(proto.name) ?? []);
  return {
    guid: schemaGuid(file.proto, references),
    file,
    fileSet: toBinary(FileDescriptorSetSchema, toFileSet(file)),
    text: "",
    references,
  };
}

/**
 * Why a contract's schema must not be what the subject's messages look like from now on; undefined if it may be.
 *
 * @param options.file The schema's file. Default: what this process was compiled against.
 */
export async function inspectSchema(
  { jsm, store }: { jsm: JetStreamManager; store: SchemaStore },
  contract: Contract,
  { topology = shop, file = contract.schema.file }: { topology?: Topology; file?: DescFile } = {},
): Promise<Refusal | undefined> {
  const { subject } = contract;
  const stream = topology.streams.find(({ prefix }) => subject.startsWith(`${prefix}.`))?.name;
  const doc = await store.subject(subject);
  if (doc === undefined || stream === undefined) return undefined;
  const mode = await compatibilityIn(store, subject);
  const all = await Promise.all(
    doc.versions.map(async (version) => ({ version, file: await fileIn(store, version) })),
  );
  const live = all.filter(({ version }) => !version.deleted);
  const found = check(
    mode,
    file,
    live.map((it) => ({ version: it.version.version, file: it.file })),
  );
  const reasons = found.map((it) => `${mode}, ${describe(it)}`);

  // Whatever the mode looks at, what is retained will be read again: by a replay, or by whoever waits for it.
  const known = new Set(
    found.filter(({ direction }) => direction === "backward").map(({ version }) => version),
  );
  for (const { version, file: old } of all) {
    const lost = known.has(version.version) ? [] : unreadable(old, file);
    if (lost.length === 0) continue;
    const retained = await findRetained(jsm, stream, { contract, doc, version });
    if (retained === undefined) continue;
    const { seq, storedAt } = retained;
    reasons.push(
      `retained, version ${version.version} (message ${seq} of ${stream}, ${storedAt.toISOString()}): ${lost.join("; ")}`,
    );
  }
  for (const spec of topology.live ?? []) {
    if (spec.state !== contract) continue;
    for (const [id, count] of await liveSchemas(jsm, stream, spec)) {
      const stored = id === 0 ? undefined : await store.schema(id);
      const lost = stored === undefined ? [] : unreadable(stored.file, file);
      if (lost.length > 0) reasons.push(`${count} ${spec.what} hold schema ${id}: ${lost.join("; ")}`);
    }
  }
  // With NONE, somebody has said that nobody is to be held up.
  if (reasons.length === 0 || mode === "NONE") return undefined;
  const onServer = await consumersOnServer(jsm, stream);
  return { subject, mode, reasons, readers: readersOf(contract, { topology, onServer }) };
}

export async function compatibilityIn(store: SchemaStore, subject: string): Promise<Mode> {
  const [own, global] = await Promise.all([store.read(settingsKey(subject)), store.read(globalSettingsKey)]);
  const settings = new Map<string, typeof own>([
    [settingsKey(subject).subject, own],
    [globalSettingsKey.subject, global],
  ]);
  return compatibilityOf({ get: (key) => settings.get(key.subject) as never }, subject);
}

async function fileIn(store: SchemaStore, { id, version }: SchemaVersion): Promise<DescFile> {
  const stored = await store.schema(id);
  if (stored === undefined)
    throw new Error(`Cannot compare with version ${version}: schema ${id} is not there`);
  return stored.file;
}

/** What a reader of `after` cannot read of data that was written with `before`. */
function unreadable(before: DescFile, after: DescFile): string[] {
  return compare(before, after)
    .filter(({ compatible }) => !compatible)
    .map(({ type, path }: Difference) => `${type} ${path}`);
}

function refusedBy(
  service: string,
  subject: string,
  result: Awaited<ReturnType<SchemaStore["register"]>>,
  topology: Topology,
): SchemaRefusedError {
  const readers = (topology.contracts ?? [])
    .filter(({ subject: other, schema }) => {
      return other === subject || importedFiles(schema.file).some(({ proto }) => proto.name === subject);
    })
    .flatMap((contract) => readersOf(contract, { topology }));
  if (result.kind === "incompatible") {
    const { mode, found } = result;
    const reasons = found.map((it) => `${mode}, ${describe(it)}`);
    return new SchemaRefusedError(
      refusedText(service, [{ subject, mode, reasons, readers: [...new Set(readers)] }]),
    );
  }
  const why = result.kind === "refused" ? result.error.message : result.kind;
  return new SchemaRefusedError(
    `Cannot start ${service}: its schema of ${JSON.stringify(subject)} is refused: ${why}`,
  );
}

function refusedText(service: string, refusals: readonly Refusal[]): string {
  const lines = refusals.map((refusal) => `\n  ${refusalText(refusal)}`);
  return (
    `Cannot start ${service}: its schemas would break others (docs/schemas.md says how to change one; ` +
    `SCHEMA_GATE=off starts all the same)${lines.join("")}`
  );
}

function refusalText({ subject, reasons, readers }: Refusal): string {
  return `${subject}: ${reasons.join("; ")}; read by ${readers.join(", ") || "nobody"}`;
}
