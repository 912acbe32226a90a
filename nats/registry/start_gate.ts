import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import { describe, type Reference, schemaGuid, toFileSet } from "../../schemas/mod.ts";
import type { Log } from "../connection.ts";
import type { Contract } from "../contracts/contract.ts";
import { publishedBy, topology as shop, type Topology } from "../topology.ts";
import { inspectImport, inspectSchema, type Refusal } from "./inspect.ts";
import { directImports, importedFiles } from "./keys.ts";
import { dataSchemaOf } from "./read_gate.ts";
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
  const files = [...new Set(published.flatMap(({ schema }) => importedFiles(schema.file)))];
  const inspected = await Promise.all([
    ...files.map((file) => inspectImport(store, file, { topology })),
    ...published.map((contract) => inspectSchema({ jsm, store }, contract, { topology })),
  ]);
  const refusals = inspected.filter((refusal) => refusal !== undefined);
  if (refusals.length > 0 && !off) throw new SchemaRefusedError(refusedText(service, refusals));
  for (const refusal of refusals) log.warn({ ...refusal }, `SCHEMA_GATE=off: ${refusalText(refusal)}`);
  const refused = new Set(refusals.map(({ subject }) => subject));

  const imports = new Map<string, Reference>();
  const by = { by: service, now: new Date(), ...(signal && { signal }) };
  /** The version and the id that the subject has for it, undefined if there is none and that is to be put up with. */
  const admit = async (subject: string, candidate: Candidate) => {
    if (refused.has(subject)) return undefined;
    const result = await store.register(subject, candidate, by);
    if (result.kind === "registered") return result;
    const text = `${subject}: ${whyNot(result)}`;
    if (!off) throw new SchemaRefusedError(`Cannot start ${service}: a schema is refused: ${text}`);
    log.warn({ subject }, `SCHEMA_GATE=off: ${text}`);
    return undefined;
  };
  for (const file of files) {
    const { name } = file.proto;
    const admitted = await admit(name, candidateOf(file, imports));
    if (admitted !== undefined) imports.set(name, { name, subject: name, version: admitted.version });
  }
  const urls = await Promise.all(
    published.map(async (contract): Promise<[Contract, string]> => {
      const { subject, schema } = contract;
      const candidate = candidateOf(schema.file, imports);
      const isWhole = directImports(schema.file).every(({ proto }) => imports.has(proto.name));
      const admitted = isWhole ? await admit(subject, candidate) : undefined;
      return [contract, dataSchemaOf(registryUrl, admitted?.id ?? (await store.store(candidate, by)))];
    }),
  );
  return new Map(urls);
}

function whyNot(
  result: Exclude<Awaited<ReturnType<SchemaStore["register"]>>, { kind: "registered" }>,
): string {
  if (result.kind === "refused") return result.error.message;
  return `${result.mode}, ${result.found.map((it) => describe(it)).join("; ")}`;
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
