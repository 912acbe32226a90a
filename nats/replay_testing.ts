import { create, toBinary } from "@bufbuild/protobuf";
import type { ConsumerInfo } from "@nats-io/jetstream";
import { type Client, drained, type NatsServer, silent, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import type { CommitOutcome } from "./commit.ts";
import { key, message } from "./contracts/mod.ts";
import type { AnyHandler, Handler } from "./handler.ts";
import { Processor } from "./processor.ts";
import type { ReplayTimes } from "./replay.ts";
import { type ReplayMark, readReplayMark, writeReplayMark } from "./replay_mark.ts";
import { planReplay, type ReplayFrom, type ReplayPlan } from "./replay_plan.ts";
import { act, counter, openLedger, testTopology } from "./testing.ts";
import { REPLAYS, type Topology, withDeadLetters } from "./topology.ts";

// A world for the tests of replays: the one of `testing.ts`, whose consumer has an effect.

const [inbox] = testTopology.consumers;
if (inbox === undefined) throw new Error("no consumer");
export const topology: Topology = {
  ...testTopology,
  buckets: [{ name: REPLAYS, owner: undefined, description: "Marks" }],
  consumers: withDeadLetters([{ ...inbox, effects: "acts" }]),
};
export const consumer = { stream: "INBOX", name: "test" };
const letters = { stream: "DEAD_LETTER", name: "test" };

const MARK_TRUST_MS = 400;
/** Of a replay among processors that trust a mark for less than `waitMs`. `ops/replay_test.ts` replays with the real ones. */
export const times: ReplayTimes = { underWayMs: 500, waitMs: 600 };

type Perform = (id: string, attempt: number) => Promise<undefined>;

export interface ReplayWorld extends AsyncDisposable {
  readonly server: NatsServer;
  readonly client: Client;
  /** What processors have dealt with. Tests empty it. */
  deliveries: { subject: string; outcome: string }[];
  /** Ids of the effects that were had. Tests empty it. */
  acted: string[];
  /** An effect outside the ledger, whose state says afterwards that it was had. */
  acting(perform?: Perform): Handler<typeof act.schema, string, unknown>;
  send(contract: typeof act, id: string): Promise<void>;
  /** A processor that is shut down with the world. */
  start(handlers: readonly AnyHandler[], options?: { effects?: string }): Processor;
  infoOf(of?: typeof consumer): Promise<ConsumerInfo>;
  /** Resolves when all that was sent is acknowledged, and no dead letter is under way. */
  drained(): Promise<void>;
  outcomes(): string[];
  plan(from?: ReplayFrom, stream?: string): Promise<ReplayPlan>;
  /** As a replay would write it now. */
  markOf(changes?: Partial<ReplayMark>): Promise<ReplayMark>;
  write(mark: ReplayMark): Promise<CommitOutcome>;
  /** What the state has kept of an effect, gone: as if it had expired. */
  forget(id: string): Promise<void>;
}

export async function openReplayWorld(): Promise<ReplayWorld> {
  const closing = new AsyncDisposableStack();
  const server = closing.use(await startNats());
  await applyTopology({ servers: server.url, topology });
  const client = await server.connect();
  const { js, jsm, connection } = client;

  const world: ReplayWorld = {
    server,
    client,
    deliveries: [],
    acted: [],
    acting: (perform = async () => undefined) => ({
      contract: act,
      keys: ({ orderId }) => [key(counter, orderId)],
      decide: (view, { orderId }) =>
        view.get(counter, orderId) === undefined
          ? { kind: "perform", messages: [], effect: orderId }
          : { kind: "done", messages: [] },
      async perform(id, { attempt }) {
        world.acted.push(id);
        await perform(id, attempt);
      },
      conclude: (view, { orderId }) => ({
        kind: "done",
        messages:
          view.get(counter, orderId) === undefined ? [message(counter, orderId, { available: 1n })] : [],
      }),
    }),
    async send({ subject, schema }, id) {
      await js.publish(`${subject}.${id}`, toBinary(schema, create(schema, { orderId: id })));
    },
    start(handlers, { effects } = { effects: "acts" }) {
      const { ledger } = openLedger(client);
      const processor = new Processor(connection, js, ledger, {
        service: "test",
        consumers: [
          { ...consumer, effects },
          { ...letters, effects: "redriven messages" },
        ],
        handlers,
        log: silent,
        markTrustMs: MARK_TRUST_MS,
        onDelivery: (delivery) => world.deliveries.push(delivery),
      });
      closing.defer(() => ledger.shutdown({ graceMs: 0 }));
      closing.defer(() => processor.shutdown({ graceMs: 0 }));
      return processor;
    },
    infoOf: ({ stream, name } = consumer) => jsm.consumers.info(stream, name),
    async drained() {
      await until(
        "all messages to be acknowledged",
        async () => {
          const done = await Promise.all(
            [consumer, letters].map(({ stream, name }) => drained(jsm, stream, name)),
          );
          return done.every(Boolean);
        },
        { timeoutMs: 25_000 },
      );
    },
    outcomes: () => world.deliveries.map(({ outcome }) => outcome).sort(),
    plan(from = { kind: "start" }, stream = "INBOX") {
      const spec = topology.consumers.find((it) => it.stream === stream);
      if (spec === undefined) throw new Error("no consumer");
      return planReplay(client, spec, { from });
    },
    async markOf(changes = {}) {
      const { state } = await jsm.streams.info("INBOX");
      const stored_until = new Date(Date.parse(state.last_ts) + 1).toISOString();
      const { ack_floor, delivered } = await world.infoOf();
      return {
        up_to: ack_floor.stream_seq,
        delivered: delivered.stream_seq,
        stored_until,
        parked: [],
        from: 1,
        by: "test",
        at: stored_until,
        ...changes,
      };
    },
    async write(mark) {
      const { seq: expect } = await readReplayMark(connection, consumer);
      return writeReplayMark(connection, consumer, { mark, expect });
    },
    forget: async (id) => void (await jsm.streams.purge("TEST", { filter: `test.counter.${id}` })),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
  return world;
}
