import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { commit, newHeaders } from "../../nats/mod.ts";
import { post } from "../../tools/customer.ts";
import { exampleOrder, type TestShop, until } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { place, underLoad } from "./load.ts";
import { type Kind, kinds } from "./orders.ts";
import { allEnded, type World } from "./world.ts";

/** A few hundred orders. */
const SMALL = "6MB";
const ENOUGH = 50;
/** Until the store is full, on a machine that does many other things. */
const FULL_MS = 120_000;

const diskFull: Fault = {
  name: "disk_full",
  does: `all streams together may take ${SMALL}; when they have, nats-server starts again with more`,
  passes:
    "customers are told 503, nothing that was accepted is lost, and everything goes on by itself once there is room",
  world: { nodes: { count: 1, maxFileStore: SMALL } },
  async run(world, extent) {
    const { nodes, tally } = world;
    if (nodes === undefined) throw new RangeError("Cannot fill the store: it is not this test's own");
    const wrong: string[] = [];
    // The load ends at a dozen times as many, which has to be more than the store holds.
    await underLoad(world, { orders: Math.max(extent.orders, ENOUGH) }, async () => {
      await until("the store to be full", () => tally.refused > 0, { timeoutMs: FULL_MS });
      const { status, type } = await post(world.orderUrl(), "/orders", {
        key: randomUUID(),
        body: exampleOrder,
      });
      if (status !== 503 || !type.startsWith("application/problem+json")) {
        wrong.push(`while the store was full, an order was answered with ${status} ${type}`);
      }
      const health = await world.shop.call("order", "/healthz");
      if (health.status !== 200)
        wrong.push(`/healthz of order was ${health.status} while the store was full`);
      // What was accepted needs no more room than is left.
      await until("the orders under way to end", () => allEnded(world), { timeoutMs: FULL_MS });
      const [node = ""] = nodes.names;
      await nodes.stop(node);
      await nodes.start(node, { maxFileStore: "1GB" });
    });
    return wrong;
  },
};

/** A few hundred orders and what nats-server needs to start; it is filled within a moment. */
const DISK_BYTES = 128 * 2 ** 20;
/** The supervisor, the services and the guard look every second or two. */
const SEEN_MS = 15_000;
/** The guard looks once a second, and a commit that fails may be earlier. */
const GUARD_MS = 1_500;
/** How long a request may take that is refused. Without the guard each waits 10 s for its commit. */
const REFUSED_MS = 2_000;
/** From room on the disk to the first order that is accepted. */
const RESUMED_MS = 60_000;
/** More than the disk gives out at once. */
const FILLER_BYTES = 5_000;
/** So many orders have begun before the disk is full, and are under way. */
const BEGUN = 8;

const fullDisk: Fault = {
  name: "full_disk",
  does: "the disk is full while orders are placed, until nats-server says that it does not write; then room is made",
  passes: `order is not ready (\`store\`) and refuses orders within ${REFUSED_MS / 1_000} s; nats-server is restarted by itself once there is room, and orders are accepted within ${RESUMED_MS / 1_000} s`,
  world: { diskBytes: DISK_BYTES },
  async run(world, extent) {
    const wrong: string[] = [];
    for (let round = 0; round < extent.rounds; round++) {
      const { accepted, shop } = world;
      const begun = accepted.length + BEGUN;
      await underLoad(world, { orders: extent.orders }, async () => {
        await until("orders to be under way", () => accepted.length >= begun, { timeoutMs: FULL_MS });
        wrong.push(...(await fillAndClear(world, shop)));
      });
    }
    return wrong;
  },
};

async function fillAndClear(world: World, { disk, reported, call, shop }: TestShop): Promise<string[]> {
  const wrong: string[] = [];
  const before = reported.length;
  const pid = shop.pid("nats-server");
  const isReady = async () => {
    const { body } = await call<{ checks: Record<string, boolean> }>("order", "/readyz");
    return body.checks.store === true;
  };
  try {
    disk?.fill();
    await until("order to say that its store fails", async () => !(await isReady()), { timeoutMs: SEEN_MS });
    await sleep(GUARD_MS);
    const asked = performance.now();
    const { status, type } = await post(world.orderUrl(), "/orders", {
      key: randomUUID(),
      body: exampleOrder,
    });
    const ms = performance.now() - asked;
    if (status !== 503 || !type.startsWith("application/problem+json")) {
      wrong.push(`while the disk was full, an order was answered with ${status} ${type}`);
    }
    if (ms > REFUSED_MS)
      wrong.push(`while the disk was full, an order was refused after ${Math.round(ms)} ms`);
    // Orders under way may all stand at batches, which are refused. What is left of the last block takes no message of this size.
    const id = randomUUID();
    world.ignored.add(id);
    const entry = {
      subject: `order.filler.${id}`,
      data: new Uint8Array(FILLER_BYTES),
      headers: newHeaders(),
    };
    const written = await commit(world.streams.connection, "ORDER", [entry], { timeoutMs: 1_000 });
    if (written.kind !== "unknown") wrong.push(`a write to a full disk ended in ${written.kind}`);
    const isHeld = () => reported.slice(before).some((line) => line.includes("does not write"));
    await until("nats-server to say that it does not write", isHeld, { timeoutMs: SEEN_MS });
  } finally {
    disk?.clear();
  }
  const cleared = performance.now();
  await place(world, kinds[0] as Kind);
  const resumedMs = performance.now() - cleared;
  if (resumedMs > RESUMED_MS)
    wrong.push(`orders were accepted ${Math.round(resumedMs / 1_000)} s after there was room`);
  if (shop.pid("nats-server") === pid) wrong.push("nats-server was not restarted");
  await until("order to be ready", isReady, { timeoutMs: SEEN_MS });
  return wrong;
}

export const diskFaults: readonly Fault[] = [diskFull, fullDisk];
