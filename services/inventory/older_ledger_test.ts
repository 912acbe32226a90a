import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type AnyHandler,
  applyTopology,
  checkoutCompleted,
  commit,
  consumersOf,
  encode,
  item,
  key,
  Ledger,
  message,
  newHeaders,
  newTrace,
  Processor,
  readLast,
  releaseStock,
  reserveStock,
  topology,
} from "../../nats/mod.ts";
import { drained, silent, startNats, until } from "../../test/support/mod.ts";
import { handlers, seed } from "./decide.ts";

const stack = new AsyncDisposableStack();
let servers: string;
let client: Awaited<ReturnType<Awaited<ReturnType<typeof startNats>>["connect"]>>;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  servers = nats.url;
  client = await nats.connect();
});
afterAll(() => stack.disposeAsync());

/** The shop as it was before inventory heard of orders that are completed. */
const older = {
  ...topology,
  consumers: topology.consumers.map((spec) =>
    spec.service === "inventory" && spec.stream === "CHECKOUT"
      ? { ...spec, contracts: [reserveStock, releaseStock] }
      : spec,
  ),
};

/** Handles everything that waits for inventory. */
async function work(those: readonly AnyHandler[]): Promise<void> {
  const { connection, js, jsm } = client;
  await using ledger = new Ledger(connection, { stream: "INVENTORY", source: "/test", log: silent });
  await ledger.execute({
    keys: [key(item, "mug")],
    trace: newTrace(),
    decide: (view) => seed(view, "mug", { available: 10, unitPriceCents: 100 }),
  });
  await using _processor = new Processor(connection, js, ledger, {
    service: "inventory",
    consumers: consumersOf("inventory"),
    handlers: those,
    log: silent,
  });
  await until("everything to be handled", () => drained(jsm, "CHECKOUT", "inventory"));
}

async function stock(): Promise<[available: bigint, reserved: bigint, sold: bigint]> {
  const { value } = await readLast(client.connection, "INVENTORY", key(item, "mug"));
  const { available, reserved, sold } = value ?? create(item.schema);
  return [available, reserved, sold];
}

const order = (orderId: string) => ({ orderId, lines: [{ sku: "mug", quantity: 2 }] });
const completed = (orderId: string) => message(checkoutCompleted, orderId, { order: order(orderId) });
const reserve = (orderId: string) => message(reserveStock, orderId, order(orderId));

it("orders that were completed before inventory heard of it are sold, and once, however often all is delivered", async () => {
  await applyTopology({ servers, topology: older });
  const said = [reserve("o1"), reserve("o2"), reserve("o3"), completed("o1"), completed("o3")];
  const entries = said.map(({ subject, contract, value }) => ({
    subject,
    data: encode(contract, value),
    headers: newHeaders(),
  }));
  expect(await commit(client.connection, "CHECKOUT", entries)).toMatchObject({ kind: "committed" });
  await work(handlers.filter(({ contract }) => contract !== checkoutCompleted));
  expect(await stock()).toEqual([4n, 6n, 0n]);

  const { changes } = await applyTopology({ servers });
  expect(changes).toEqual([
    expect.stringMatching(/starts over, for 2 stored messages of checkout\.completed\.>$/),
  ]);
  await work(handlers);
  expect(await stock()).toEqual([4n, 2n, 4n]);

  const { state } = await client.jsm.streams.info("INVENTORY");
  await client.jsm.consumers.reset("CHECKOUT", "inventory", 1);
  await work(handlers);
  expect((await client.jsm.streams.info("INVENTORY")).state.last_seq).toBe(state.last_seq);
});
