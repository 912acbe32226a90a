import { AckPolicy, type JsMsg } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { applyTopology, type BatchEntry, commit, newHeaders, type Topology } from "../../nats/mod.ts";
import { type NatsServer, startProxy, until } from "../support/mod.ts";
import type { Bus } from "./bus_contract.ts";
import type { Delivered, Entry } from "./store.ts";

const topology: Topology = {
  streams: [{ name: "TEST", prefix: "test", owner: "test", description: "The contract's" }],
  consumers: [],
  views: [],
};
/** How long a fetch waits for messages, and a commit for an answer that does not come. */
const SHORT_MS = 250;

/** A real server, through the functions of `nats/`. The stream is made anew for each bus. */
export async function openRealBus(server: NatsServer): Promise<Bus> {
  const { connection, js, jsm } = await server.connect();
  const proxy = await startProxy(server.url);
  const through = await proxy.connect();
  await jsm.streams.delete("TEST").catch(missing);
  await applyTopology({ servers: server.url, topology });
  const ackWaitMs = 1_000;
  const consumer = {
    durable_name: "taker",
    filter_subjects: ["test.job.>"],
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ackWaitMs),
    max_deliver: -1,
  };
  await jsm.consumers.add("TEST", consumer);
  const held = new Map<Delivered<string>, JsMsg>();
  return {
    ackWaitMs,
    now: () => new Date(),
    commit: (entries) => commit(connection, "TEST", entries.map(toBatchEntry)),
    async commitMute(entries, { arrives }) {
      const text = arrives ? "server" : "client";
      // What passes besides the commit's own request and its answer are pings.
      proxy.judge(({ from }) => (from === text ? "drop" : "pass"));
      try {
        return await commit(through.connection, "TEST", entries.map(toBatchEntry), { timeoutMs: SHORT_MS });
      } finally {
        proxy.release();
      }
    },
    async last(subject) {
      const last = await jsm.streams.getMessage("TEST", { last_by_subj: subject });
      return last === null ? undefined : { seq: last.seq, data: last.string() };
    },
    async count(subject) {
      const { state } = await jsm.streams.info("TEST", { subjects_filter: subject });
      return state.subjects?.[subject] ?? 0;
    },
    async fetch(max) {
      const pull = await js.consumers.get("TEST", "taker");
      const fetched: Delivered<string>[] = [];
      for await (const msg of await pull.fetch({ max_messages: max, expires: 1_000 })) {
        const { seq, subject, info } = msg;
        const at = info.timestampNanos / 1e6;
        const delivered = { seq, subject, data: msg.string(), at, deliveries: info.deliveryCount };
        held.set(delivered, msg);
        fetched.push(delivered);
      }
      return fetched;
    },
    ack: async (delivered) => void (await held.get(delivered)?.ackAck()),
    nak: async (delivered, delayMs) => held.get(delivered)?.nak(delayMs),
    async reset() {
      await jsm.consumers.delete("TEST", "taker");
      await jsm.consumers.add("TEST", consumer);
    },
    until,
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

function toBatchEntry({ subject, data, expect, schedule, cancels }: Entry<string>): BatchEntry {
  const headers = newHeaders();
  if (schedule !== undefined) {
    headers.set("Nats-Schedule", `@at ${schedule.at.toISOString()}`);
    headers.set("Nats-Schedule-Target", schedule.target);
  }
  if (cancels !== undefined) {
    headers.set("Nats-Scheduler", cancels);
    headers.set("Nats-Schedule-Next", "purge");
  }
  const entry = { subject, data: new TextEncoder().encode(data), headers };
  return expect === undefined ? entry : { ...entry, expect };
}

function missing(cause: unknown): void {
  if (!(cause instanceof Error && "code" in cause && cause.code === 10_059)) throw cause;
}
