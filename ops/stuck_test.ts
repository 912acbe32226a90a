import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyTopology,
  checkoutState,
  checkoutTimer,
  commit,
  encode,
  message,
  newHeaders,
  type Outgoing,
  orderCreated,
  redriveDeadLetter,
  reserveStock,
} from "../nats/mod.ts";
import { type Client, type NatsServer, parkNext, startNats } from "../test/support/mod.ts";
import { runOps } from "./program.ts";
import { collect } from "./testing.ts";

let nats: NatsServer;
let client: Client;
beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
});
afterAll(() => nats[Symbol.asyncDispose]());

async function store(stream: string, ...messages: Outgoing[]): Promise<void> {
  const entries = messages.map(({ subject, contract, value }) => {
    return { subject, data: encode(contract, value), headers: newHeaders() };
  });
  expect((await commit(client.connection, stream, entries)).kind).toBe("committed");
}

async function ops(...args: string[]) {
  const { output, text } = collect();
  const code = await runOps(args, { output, environment: { NATS_URL: nats.url, DATA_DIR: "/nowhere" } });
  return { code, ...text() };
}

const order = (orderId: string) => message(orderCreated, orderId, { order: { orderId } });

describe("an order whose message the coordinator, notification and analytics have given up", () => {
  let letter: string;
  beforeAll(async () => {
    await store("ORDER", order("ord_1"));
    letter = await parkNext(client, "ORDER", "coordinator", "no such thing");
    for (const service of ["notification", "analytics"]) await parkNext(client, "ORDER", service);
  });

  it("cannot begin, says `order`, names the dead letters, and what to do", async () => {
    const { out, code } = await ops("order", "ord_1");
    expect(code).toBe(0);
    expect(out).toContain(
      `\nthe order cannot begin: coordinator gave order.created up, and has not handled it since (${letter})\n` +
        `  mend the cause, then: npm run ops -- dead-letters redrive ${letter}\n`,
    );
    expect(out).toMatch(/^notification gave order\.created up, .*\(notification\.notification\.ORDER\.1\)$/m);
    expect(out).toMatch(/^analytics gave order\.created up/m);
    expect(out).not.toContain("nobody has to deal");
    const { dead_letters } = JSON.parse((await ops("order", "ord_1", "--json")).out);
    expect(dead_letters).toMatchObject([
      { id: letter, holds_up: true },
      { holds_up: false },
      { holds_up: false },
    ]);
  });

  it("is stuck and violates no rule, says `reconcile`, which ends with 1", async () => {
    const { code, out, err } = await ops("reconcile");
    expect(code).toBe(1);
    expect(out).toBe(
      `stuck  ord_1 cannot begin: coordinator gave order.created up\n` +
        `       mend the cause, then: npm run ops -- dead-letters redrive ${letter}\n`,
    );
    expect(err).toBe("1 order compared, 1 of them live, no violation, 1 order held up by dead letters\n");
    const { violations, stuck } = JSON.parse((await ops("reconcile", "--json")).out);
    expect(violations).toEqual([]);
    expect(stuck).toMatchObject([
      { order_id: "ord_1", state: "created", dead_letters: [{ id: letter, service: "coordinator" }] },
    ]);
  });

  it("is counted by `lag`, though it is in no state", async () => {
    expect((await ops("lag")).out).toContain(
      "\n1 order is held up by dead letters, 1 of which cannot begin: npm run ops -- orders --stuck\n",
    );
    expect(JSON.parse((await ops("lag", "--json")).out)).toMatchObject({ stuck: 1, not_begun: 1 });
  });

  it("is exported with the dead letter that holds it up", async () => {
    const { out } = await ops("export", "orders", "--format", "json");
    expect(JSON.parse(out)).toMatchObject({ order_id: "ord_1", state: "created", stuck_by: letter });
  });

  it("is none of that once it is on its way back", async () => {
    await redriveDeadLetter(client, letter, { by: "eve", force: true });
    const { out } = await ops("order", "ord_1");
    expect(out).not.toContain("cannot begin");
    expect(out).toContain(`\ncoordinator gets order.created again (${letter})\n`);
    expect((await ops("lag")).out).not.toContain("held up");
  });
});

it("an order that waits for a command that was given up cannot go on", async () => {
  const at = timestampFromMs(Date.now());
  const deadline = timestampFromMs(Date.now() + 600_000);
  await store("ORDER", order("ord_2"));
  const history = [{ state: "created" }, { state: "reserving", cause: "order.created", at }];
  await store(
    "CHECKOUT",
    message(checkoutState, "ord_2", { state: "reserving", history, deadline }),
    message(reserveStock, "ord_2", { orderId: "ord_2" }),
    message(checkoutTimer, "ord_2", { orderId: "ord_2", deadline }),
  );
  const letter = await parkNext(client, "CHECKOUT", "inventory");
  expect((await ops("order", "ord_2")).out).toContain(
    `\nthe order cannot go on: inventory gave checkout.reserve_stock up, and has not handled it since (${letter})\n`,
  );
  expect((await ops("reconcile")).out).toContain("stuck  ord_2 cannot leave reserving: inventory");
  expect((await ops("lag")).out).toContain("\n1 order is held up by dead letters: npm run");
});
