import {
  backoffMs,
  type Contract,
  passStartGate,
  pause,
  ReadGate,
  SchemaRefusedError,
  SchemaStore,
  schemaIdIn,
  schemaKey,
  type Verdict,
} from "../nats/mod.ts";
import { type CommonConfig, StartError } from "./config.ts";
import type { Life } from "./lifetime.ts";
import type { Observer } from "./service.ts";

/** What stands between a service and messages that would break others, or that it would misread. */
export interface SchemaGate {
  /** Resolves when the schemas of all that the service stores are registered. It stores and takes nothing before. */
  readonly opened: Promise<void>;
  /** The `ce-dataschema` of a contract's messages, once it is open. */
  dataSchema(contract: Contract): string | undefined;
  /** Why a message must not be read; undefined if it may. */
  readable(contract: Contract, dataSchema: string): Verdict | Promise<Verdict>;
}

/** Between two tries to register while the servers do not answer. */
const PAUSE = { firstMs: 250, maxMs: 5_000 };
/** Looks this often whether the registry still has what was registered. Costs one read for each contract. */
const LOOK_EVERY_MS = 30_000;

/**
 * Begins to register what the service stores. Ends the service if that is refused. With `SCHEMA_GATE=off` whatever would be
 * refused or parked is only warned of.
 */
export function openSchemaGate(
  service: Observer,
  { config, fail, stack }: Pick<Life, "fail" | "stack"> & { config: CommonConfig },
): SchemaGate {
  const { name, connection, jsm, log, checks, metrics } = service;
  const off = config.SCHEMA_GATE === "off";
  if (off)
    log.warn(
      "SCHEMA_GATE=off: schemas that break others are stored, and messages are read whatever they are",
    );
  const store = stack.use(new SchemaStore(connection, { source: `/services/${name}`, log }));
  const stopping = new AbortController();
  stack.defer(() => stopping.abort());
  const { signal } = stopping;

  let urls: ReadonlyMap<Contract, string> | undefined;
  checks.schemas = () => urls !== undefined;
  const register = async () => {
    for (let attempt = 1; ; attempt++) {
      try {
        const options = { service: name, registryUrl: config.REGISTRY_URL, off, log, signal };
        urls = await passStartGate({ jsm, store }, options);
        return;
      } catch (cause) {
        if (cause instanceof SchemaRefusedError) fail?.(new StartError(cause.message, { cause }));
        if (cause instanceof SchemaRefusedError || signal.aborted) throw cause;
        log.warn({ err: cause }, "cannot register schemas, trying again");
        await pause(backoffMs(attempt, PAUSE), signal);
      }
    }
  };
  const opened = register();
  void opened.then(
    () => keepRegistered({ urls: () => urls, store, register, log, signal }),
    () => undefined,
  );
  // Whoever waits for it is told; with nobody waiting it is no fault of the process.
  opened.catch((cause) => log.debug({ err: cause }, "stopped before schemas were registered"));

  const gate = new ReadGate(store);
  return {
    opened,
    dataSchema: (contract) => urls?.get(contract),
    readable: counted(off ? warnOnly(gate, service) : (...asked) => gate.check(...asked), (subject) =>
      metrics.unreadable.inc({ subject }),
    ),
  };
}

/** Registers again what the registry has lost: readers would wait for it. The ids are the same, since schemas make them. */
async function keepRegistered({
  urls,
  store,
  register,
  log,
  signal,
}: {
  urls(): ReadonlyMap<Contract, string> | undefined;
  store: SchemaStore;
  register(): Promise<void>;
  log: Observer["log"];
  signal: AbortSignal;
}): Promise<void> {
  for (; !signal.aborted; await pause(LOOK_EVERY_MS, signal)) {
    try {
      const ids = [...new Set(urls()?.values())].map((url) => schemaIdIn(url) ?? 0);
      const found = await Promise.all(ids.map((id) => store.read(schemaKey(id))));
      if (found.every((schema) => schema !== undefined)) continue;
      log.error("the registry has lost schemas of this service; registering them again");
      await register();
    } catch (cause) {
      if (!signal.aborted) log.warn({ err: cause }, "cannot tell whether the registry has all schemas");
    }
  }
}

/** Tells `count` of each message that is refused, by its subject. */
function counted(readable: SchemaGate["readable"], count: (subject: string) => void): SchemaGate["readable"] {
  return (contract, dataSchema) => {
    const counting = (verdict: Verdict) => {
      if (verdict !== undefined) count(contract.subject);
      return verdict;
    };
    const verdict = readable(contract, dataSchema);
    return verdict instanceof Promise ? verdict.then(counting) : counting(verdict);
  };
}

/** Verdicts that were told already. Messages name what they like. */
const MAX_TOLD = 1_000;

function warnOnly(gate: ReadGate, { log }: Observer): SchemaGate["readable"] {
  const told = new Set<string>();
  const check = async (...asked: Parameters<SchemaGate["readable"]>) => {
    try {
      return await gate.check(...asked);
    } catch (cause) {
      return `its schema cannot be looked up (${cause})`;
    }
  };
  return async (contract, dataSchema) => {
    const verdict = await check(contract, dataSchema);
    if (verdict !== undefined && !told.has(verdict)) {
      if (told.size >= MAX_TOLD) told.clear();
      told.add(verdict);
      log.warn({ subject: contract.subject }, `SCHEMA_GATE=off: read all the same: ${verdict}`);
    }
    return undefined;
  };
}
