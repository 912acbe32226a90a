import { randomUUID } from "node:crypto";
import { post } from "../../tools/customer.ts";
import { exampleOrder, until } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { underLoad } from "./load.ts";
import { allEnded } from "./world.ts";

/** A few hundred orders. */
const SMALL = "6MB";
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
    await underLoad(world, extent, async () => {
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

export const diskFaults: readonly Fault[] = [diskFull];
