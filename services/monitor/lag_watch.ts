import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { Gauge, type Registry } from "prom-client";
import {
  type ConsumerLag,
  checkServers,
  type Finding,
  findingText,
  type Log,
  OpenLetters,
  pause,
  readLags,
} from "../../nats/mod.ts";
import { type Live, readLive } from "./live.ts";
import { readStoreUsage, type StoreUsage } from "./store_usage.ts";

export interface LagWatchOptions {
  connection: NatsConnection;
  jsm: JetStreamManager;
  /** By which orders are known that are held up. Default: those of the streams. */
  letters?: OpenLetters;
  registry: Registry;
  log: Log;
  /** Pause between two looks. */
  everyMs: number;
  /** Default 60,000: between two comparisons of the servers with the topology. */
  checkEveryMs?: number;
  /** Copies of each stream that there should be. Default 1. */
  replicas?: number;
  /** Comma-separated base URLs of the servers' monitoring. Default: none; their stores and sync setting are not seen. */
  monitorUrl?: string | undefined;
  /** Told what a comparison has found. */
  onFindings?: (findings: readonly Finding[]) => void;
  signal: AbortSignal;
}

/** Of the time that a look takes, this many times it waits: looking takes nothing from the orders that are under way. */
const REST = 3;
const CHECK_EVERY_MS = 60_000;

/**
 * Looks, until `signal` aborts, at how far every durable consumer is behind, at the checkouts that are under way, and at
 * the servers themselves, and says so as metrics. All of it is read from the servers and nothing from the services, so
 * that one which is stopped shows. What fails is reported and tried again; meanwhile the metrics stay what they were, and
 * `shop_lag_last_read_timestamp_seconds` gets old.
 */
export async function watchLag(options: LagWatchOptions): Promise<void> {
  const {
    connection,
    jsm,
    letters = new OpenLetters(options.jsm),
    registry,
    log,
    everyMs,
    monitorUrl,
    signal,
  } = options;
  const publish = createGauges(registry);
  const servers = new ServerCheck(options);
  while (!signal.aborted) {
    const started = performance.now();
    try {
      const lags = await readLags(jsm);
      const [live, stores] = await Promise.all([
        readLive({ connection, jsm }, { lags, letters }),
        readStoreUsage(monitorUrl),
      ]);
      publish({ lags, live, stores });
      await servers.check(lags);
    } catch (cause) {
      if (!signal.aborted) log.warn({ err: cause }, "cannot see how far the consumers are, trying again");
    }
    await pause(Math.max(everyMs, REST * (performance.now() - started)), signal);
  }
}

/** Compares the servers with the topology again and again: what was as it should be at the start may not stay so. */
class ServerCheck {
  readonly #options: LagWatchOptions;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #findings: readonly Finding[] = [];
  #told = new Set<string>();

  constructor(options: LagWatchOptions) {
    this.#options = options;
  }

  async check(lags: readonly ConsumerLag[]): Promise<void> {
    const { connection, jsm, log, checkEveryMs = CHECK_EVERY_MS, onFindings } = this.#options;
    if (performance.now() > this.#checkedAt + checkEveryMs) {
      const options = { service: "monitor", everyConsumer: true, ...this.#options };
      this.#findings = await checkServers(connection, jsm, options);
      this.#checkedAt = performance.now();
    }
    // Seen at each look, and not only when all is compared.
    const missing = lags
      .filter((lag) => lag.missing)
      .map(({ stream, consumer }): Finding => {
        return { kind: "missing", what: `consumer ${stream}/${consumer}`, wanted: "there", is: "missing" };
      });
    const known = new Set(missing.map(({ what }) => what));
    const findings = [...this.#findings.filter(({ what }) => !known.has(what)), ...missing];
    onFindings?.(findings);
    const texts = new Set(findings.map(findingText));
    for (const text of texts.difference(this.#told)) log.warn({}, text);
    this.#told = texts;
  }
}

interface Seen {
  lags: readonly ConsumerLag[];
  live: Live;
  stores: readonly StoreUsage[];
}

function createGauges(registry: Registry): (seen: Seen) => void {
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const pending = gauge(
    "shop_consumer_pending_messages",
    "Messages that a durable consumer has not been delivered yet",
    "stream",
    "consumer",
  );
  const unacked = gauge(
    "shop_consumer_unacked_messages",
    "Messages that a durable consumer was delivered and has not acknowledged",
    "stream",
    "consumer",
  );
  const redelivered = gauge(
    "shop_consumer_redelivered_messages",
    "Unacknowledged messages of a durable consumer that were delivered more than once",
    "stream",
    "consumer",
  );
  const seconds = gauge(
    "shop_consumer_lag_seconds",
    "Age of the oldest message that a durable consumer has not acknowledged; 0 if there is none",
    "stream",
    "consumer",
  );
  // By the name that it has wherever consumer groups are watched.
  const sum = gauge(
    "consumer_lag_sum",
    "Messages that a service has not acknowledged, pending or under way, over all its consumers",
    "consumer",
  );
  const live = gauge("shop_checkouts_live", "Checkouts that have not ended, by state", "state");
  const oldest = gauge(
    "shop_checkout_oldest_age_seconds",
    "How long the checkout that has been in a state longest has been in it; 0 if there is none",
    "state",
  );
  const overdue = gauge("shop_checkouts_overdue", "Checkouts whose deadline has passed");
  const stuck = gauge(
    "shop_orders_stuck",
    "Orders that dead letters hold up, by whether they have begun",
    "begun",
  );
  const used = gauge("shop_store_used_bytes", "What all streams take on a server's disk", "server");
  const limit = gauge("shop_store_limit_bytes", "What all streams may take on a server's disk", "server");
  const lastRead = gauge("shop_lag_last_read_timestamp_seconds", "When the consumers were last looked at");

  return ({ lags, live: checkouts, stores }) => {
    const sums = new Map<string, number>();
    for (const lag of lags) {
      const { stream, consumer } = lag;
      pending.set({ stream, consumer }, lag.pending);
      unacked.set({ stream, consumer }, lag.unacked);
      redelivered.set({ stream, consumer }, lag.redelivered);
      seconds.set({ stream, consumer }, lag.seconds);
      sums.set(consumer, (sums.get(consumer) ?? 0) + lag.pending + lag.unacked);
    }
    for (const [consumer, messages] of sums) sum.set({ consumer }, messages);
    const unseen = { count: checkouts.unseen, oldestSeconds: 0 };
    for (const [state, { count, oldestSeconds }] of [...checkouts.states, ["unseen", unseen] as const]) {
      live.set({ state }, count);
      oldest.set({ state }, oldestSeconds);
    }
    overdue.set(checkouts.overdue);
    stuck.set({ begun: "true" }, checkouts.stuck - checkouts.notBegun);
    stuck.set({ begun: "false" }, checkouts.notBegun);
    for (const { server, usedBytes, limitBytes } of stores) {
      used.set({ server }, usedBytes);
      limit.set({ server }, limitBytes);
    }
    lastRead.set(Date.now() / 1_000);
  };
}
