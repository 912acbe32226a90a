import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, type NatsServer, parkNext, startNats } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { discardDeadLetter, redriveDeadLetter } from "./dead_letters.ts";
import { OpenLetters } from "./open_letters.ts";

let server: NatsServer;
let client: Client;
let letters: OpenLetters;
beforeAll(async () => {
  server = await startNats();
  await applyTopology({ servers: server.url });
  client = await server.connect();
  letters = new OpenLetters(client.jsm);
});
afterAll(() => server[Symbol.asyncDispose]());

async function parked(orderId: string, service = "coordinator"): Promise<string> {
  await client.js.publish(`order.created.${orderId}`, "x");
  return parkNext(client, "ORDER", service);
}

const statusesOf = (orderId: string) => letters.of(orderId).map(({ status }) => status);
const holding = (state: string) => letters.holding({ orderId: "ord_1", state }).length;

describe("OpenLetters", () => {
  it("has each letter by its order, as it stands, and counts those that are parked", async () => {
    const first = await parked("ord_1");
    await letters.update();
    expect(statusesOf("ord_1")).toEqual(["parked"]);
    expect(letters.parkedBy).toContainEqual(["coordinator", 1]);
    expect(letters.parkedBy).toContainEqual(["inventory", 0]);
    expect([holding("created"), holding("reserving"), holding("completed")]).toEqual([1, 0, 0]);

    await redriveDeadLetter(client, first, { by: "eve", force: true });
    await letters.update();
    expect(statusesOf("ord_1")).toEqual(["redriven"]);
    expect(holding("created")).toBe(0);
    expect(letters.parkedBy).toContainEqual(["coordinator", 0]);

    await discardDeadLetter(client, await parked("ord_2"), { by: "eve", reason: "a test" });
    await letters.update();
    expect(letters.holding({ orderId: "ord_2", state: "created" })).toHaveLength(1);
    expect([...letters.orderIds]).toEqual(["ord_1", "ord_2"]);
  });

  it("takes the coordinator's letter for what holds an order up whose state nobody can tell", () => {
    expect(letters.holding({ orderId: "ord_2", state: "unreadable" })).toHaveLength(1);
  });

  it("begins again where the stream is another one, though it is as long", async () => {
    const { config } = await client.jsm.streams.info("DEAD_LETTER");
    const { last_seq: last } = (await client.jsm.streams.info("DEAD_LETTER")).state;
    await client.jsm.streams.delete("DEAD_LETTER");
    await client.jsm.streams.add(config);
    await parked("ord_3");
    while ((await client.jsm.streams.info("DEAD_LETTER")).state.last_seq < last) await parked("ord_4");
    await letters.update();
    expect([...letters.orderIds]).toEqual(["ord_3", "ord_4"]);
    expect(statusesOf("ord_1")).toEqual([]);
  });
});
