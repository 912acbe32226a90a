import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Hono } from "hono";
import type { Logger } from "pino";
import {
  type AnyHandler,
  connect,
  consumersOf,
  type Finding,
  inboxOf,
  Ledger,
  Link,
  ledgerOf,
  Processor,
  startCheck,
  sweepWaitingRegularly,
  type WaitingContracts,
} from "../nats/mod.ts";
import { type CommonConfig, StartError } from "./config.ts";
import { Faults } from "./faults.ts";
import { healthRoutes } from "./health.ts";
import { createApp, type Env } from "./http.ts";
import { wholeLedger } from "./ledger_check.ts";
import type { Life } from "./lifetime.ts";
import {
  createMetrics,
  knownSubjects,
  type Metrics,
  observeCommit,
  observeDelivery,
  setFindings,
} from "./metrics.ts";
import { openApiRoutes } from "./openapi.ts";
import { sayWhenReady } from "./say_ready.ts";
import { openSchemaGate, type SchemaGate } from "./schema_gate.ts";
import { serve } from "./serve.ts";
import { StoreCheck, watchWriteErrors } from "./store_check.ts";
import { openTracing, type Tracing } from "./tracing.ts";

/** A service that is connected to NATS and writes no ledger. */
export interface Observer {
  readonly name: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Undefined where no traces are recorded. */
  readonly tracing: Tracing | undefined;
  /** Undefined where none can be set. */
  readonly faults: Faults | undefined;
  readonly config: CommonConfig;
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
  /** Checks that `/readyz` makes, by name. */
  readonly checks: Record<string, () => boolean>;
  /** Whatever is put here is disposed of when the service stops, last first. */
  readonly stack: AsyncDisposableStack;
}

/** A service that is connected to its ledger. */
export interface Service extends Observer {
  readonly ledger: Ledger;
  readonly gate: SchemaGate;
  /** Whether the servers store what it decides: `store` among the checks. */
  readonly store: StoreCheck;
  /** Resolves when the ledger is whole and the schemas of its messages are registered. Nothing is stored or taken before. */
  readonly opened: Promise<unknown>;
}

/**
 * Connects to NATS and opens the service's ledger, which stores nothing before it is known to be whole and the schemas of its
 * messages are registered.
 */
export async function connectService(
  name: string,
  options: Life & { config: CommonConfig },
): Promise<Service> {
  const service = await connectObserver(name, options);
  const { connection, metrics, log, stack, tracing } = service;
  const gate = openSchemaGate(service, options);
  const stream = ledgerOf(name);
  const opened = Promise.all([gate.opened, wholeLedger(service, { ...options, stream })]);
  // Told to all that wait for it; with nobody waiting it is no fault of the process.
  opened.catch((cause) => log.debug({ err: cause }, "stopped before the ledger was opened"));
  const store = watchStore(service, stream);
  const ledger = stack.use(
    new Ledger(connection, {
      stream,
      source: `/services/${name}`,
      dataSchema: gate.dataSchema,
      opened,
      tracer: tracing,
      log,
      onCommit: (attempt) => {
        observeCommit(metrics, attempt);
        store.committed(attempt.outcome);
      },
    }),
  );
  return { ...service, ledger, gate, store, opened };
}

function watchStore({ connection, config, log, checks, stack }: Observer, stream: string): StoreCheck {
  const store = new StoreCheck({ stream });
  const { NATS_MONITOR_URL: monitorUrl } = config;
  void watchWriteErrors(store, { monitorUrl, log, signal: stoppedBy(stack) });
  void (async () => {
    for await (const { type } of connection.status()) if (type === "reconnect") store.reconnected();
  })();
  checks.store = () => store.ok;
  return store;
}

/** Connects to NATS, and no more. */
export async function connectObserver(
  name: string,
  options: Life & { config: CommonConfig },
): Promise<Observer> {
  const { config, log, stack, fail } = options;
  log.level = config.LOG_LEVEL;
  const metrics = createMetrics(name);
  // First, so that it is closed last: what ends the others is recorded, too.
  const tracing = await openTracing(name, { config, log });
  if (tracing !== undefined) stack.use(tracing);
  const connection = await connectAs(name, config, log);
  const link = new Link(connection);
  let stopping = false;
  stack.defer(async () => {
    stopping = true;
    // What a lost connection has not delivered yet, it never will; nothing acknowledged depends on it.
    if (!link.up) return connection.close();
    try {
      await connection.drain();
    } catch (cause) {
      log.warn({ err: cause }, "the connection was lost while it was drained");
    }
  });
  void connection.closed().then((cause) => {
    // The client gives up when its credential is refused. A process that is started again reads it anew.
    if (!stopping) fail?.(new StartError(`Cannot go on: NATS closed the connection of ${name} (${cause})`));
  });
  const { registry } = metrics;
  const faults =
    config.FAULTS === "on" ? stack.use(new Faults(connection, { service: name, log, registry })) : undefined;
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  let whole = false;
  const { REPLICAS: replicas, NATS_MONITOR_URL: monitorUrl } = config;
  const signal = stoppedBy(stack);
  const onFindings = (findings: readonly Finding[]) => setFindings(metrics, findings);
  // Beside the start, not before it: whatever is missing is waited for, and others see why this one is not ready.
  void startCheck(connection, jsm, { service: name, replicas, monitorUrl, log, signal, onFindings }).then(
    () => {
      whole = !signal.aborted;
    },
  );
  const checks = {
    nats: () => link.up && !connection.isClosed(),
    topology: () => whole,
    ...(faults && { faults: () => faults.value("down") === 0 }),
  };
  return { name, log, metrics, tracing, faults, config, connection, jsm, checks, stack };
}

/** @throws {StartError} If there is no usable credential, or the server refuses it. */
async function connectAs(name: string, config: CommonConfig, log: Logger): Promise<NatsConnection> {
  const { NATS_TLS_CA: ca, NATS_TLS_CERT: cert, NATS_TLS_KEY: key } = config;
  try {
    return await connect({
      servers: config.NATS_URL,
      nkeyFile: config.NATS_NKEY_FILE,
      tls: { ca, cert, key },
      inboxPrefix: inboxOf(name),
      name,
      log,
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(`Cannot start ${name}: no connection to NATS (${why})`, { cause });
  }
}

/**
 * Starts to handle what the service's consumers of the topology deliver.
 * @param options.waiting Where messages wait for somebody outside the shop. Default: none do.
 */
export function consume(
  service: Service,
  handlers: readonly AnyHandler[],
  { waiting }: { waiting?: WaitingContracts } = {},
): void {
  const { name, log, metrics, tracing, faults, connection, ledger, gate, opened } = service;
  const known = knownSubjects(
    metrics,
    handlers.map(({ contract }) => contract),
  );
  const processor = service.stack.use(
    new Processor(connection, jetstream(connection), ledger, {
      service: name,
      consumers: consumersOf(name),
      handlers,
      waiting,
      log,
      opened,
      readable: gate.readable,
      tracer: tracing,
      disturb: faults && ((signal) => faults.disturb(signal)),
      // Whatever is about an order has its id in its subject.
      describe: (id) => (id.startsWith("ord_") ? { order_id: id.split(".")[0] } : {}),
      onDelivery: ({ subject, fields, outcome, redelivered, ms }) => {
        // One line a message would be the largest part of the work: what goes as it should is for who asks.
        if (log.isLevelEnabled("debug")) log.debug({ ...fields(), outcome, ms: Math.round(ms) }, "handled");
        observeDelivery(metrics, { subject: known(subject), outcome, redelivered, ms });
      },
    }),
  );
  service.checks.consumers = () => processor.ready;
  if (waiting === undefined) return;
  const { jsm, stack } = service;
  const signal = stoppedBy(stack);
  const sweep = () => sweepWaitingRegularly({ jsm, ledger, waiting, log, signal });
  // If it is never opened, others say so.
  void opened.then(sweep, () => undefined);
}

/** Aborts when the stack is disposed of. */
function stoppedBy(stack: AsyncDisposableStack): AbortSignal {
  const stopped = new AbortController();
  stack.defer(() => stopped.abort());
  return stopped.signal;
}

/** Serves `/healthz`, `/readyz`, `/metrics`, `/openapi.json` and what `routes` adds. */
export async function serveHttp(
  service: Observer,
  listen: { port: number; portVariable: string; maxBodyBytes?: number },
  routes: (app: Hono<Env>) => Hono<Env> = (app) => app,
): Promise<void> {
  const { name, log, metrics, tracing, faults, config, checks, stack } = service;
  const { maxBodyBytes, ...address } = listen;
  const limits = { maxInFlight: config.MAX_IN_FLIGHT, ...(maxBodyBytes && { maxBodyBytes }) };
  const app = createApp({ log, metrics, tracing, ...limits });
  if (faults !== undefined) app.use(faults.middleware);
  routes(app);
  app.route("/", healthRoutes(metrics, checks));
  app.route("/", openApiRoutes(app, name));
  const server = stack.use(await serve(app, { ...address, service: name, host: config.HOST }));
  sayWhenReady(checks, { url: server.url, log, stack });
}
