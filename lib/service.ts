import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Hono } from "hono";
import type { Logger } from "pino";
import { type AnyHandler, connect, consumersOf, Ledger, ledgerOf, Processor } from "../nats/mod.ts";
import type { CommonConfig } from "./config.ts";
import { healthRoutes } from "./health.ts";
import { createApp, type Env } from "./http.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { serve } from "./serve.ts";

/** A service that is connected to its ledger. */
export interface Service {
  readonly name: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly config: CommonConfig;
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly ledger: Ledger;
  /** Checks that `/readyz` makes, by name. */
  readonly checks: Record<string, () => boolean>;
  /** Whatever is put here is disposed of when the service stops, last first. */
  readonly stack: AsyncDisposableStack;
}

/** Connects to NATS and opens the service's ledger. */
export async function connectService(
  name: string,
  options: { config: CommonConfig; log: Logger; stack: AsyncDisposableStack },
): Promise<Service> {
  const { config, log, stack } = options;
  log.level = config.LOG_LEVEL;
  const metrics = createMetrics(name);
  const connection = await connect({ servers: config.NATS_URL, name, log });
  stack.defer(() => connection.drain());
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  const ledger = stack.use(
    new Ledger(connection, jsm, {
      stream: ledgerOf(name),
      source: `/services/${name}`,
      registryUrl: config.REGISTRY_URL,
      log,
      onCommit: ({ outcome, messages, ms }) => {
        metrics.commitSeconds.observe({ outcome }, ms / 1000);
        metrics.commitMessages.observe(messages);
      },
    }),
  );
  const checks = { nats: () => !connection.isClosed() && connection.getServer() !== "" };
  return { name, log, metrics, config, connection, jsm, ledger, checks, stack };
}

/** Starts to handle what the service's consumers of the topology deliver. */
export function consume(service: Service, handlers: readonly AnyHandler[]): void {
  const { name, log, metrics, connection, ledger } = service;
  const processor = service.stack.use(
    new Processor(connection, jetstream(connection), ledger, {
      service: name,
      consumers: consumersOf(name),
      handlers,
      log,
      onDelivery: ({ subject, outcome, redelivered, ms }) => {
        metrics.deliverySeconds.observe({ subject, outcome }, ms / 1000);
        if (redelivered) metrics.redeliveries.inc({ subject });
      },
    }),
  );
  service.checks.consumers = () => processor.ready;
}

/** Serves `/healthz`, `/readyz`, `/metrics` and what `routes` adds. */
export async function serveHttp(
  service: Service,
  listen: { port: number; portVariable: string },
  routes: (app: Hono<Env>) => Hono<Env> = (app) => app,
): Promise<void> {
  const { name, log, metrics, config, checks, stack } = service;
  const app = routes(createApp({ log, metrics }));
  app.route("/", healthRoutes(metrics, checks));
  const server = stack.use(await serve(app, { ...listen, service: name, host: config.HOST }));
  log.info({ url: server.url }, "listening");
}
