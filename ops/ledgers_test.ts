import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyTopology,
  commit,
  encode,
  item,
  message,
  newHeaders,
  reservation,
  stockReserved,
} from "../nats/mod.ts";
import { type Client, type NatsServer, startNats } from "../test/support/mod.ts";
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

async function ops(...args: string[]) {
  const { output, text } = collect();
  const environment = { NATS_URL: nats.url, DATA_DIR: "/nowhere" };
  const code = await runOps(["ledgers", ...args], { output, environment });
  return { code, ...text() };
}

/** Stores a reservation, of which the last message is then lost. */
async function tear(id: string): Promise<void> {
  const outgoing = [
    message(item, "mug", { sku: "mug", available: 5n }),
    message(reservation, id, { orderId: id }),
    message(stockReserved, id, { orderId: id }),
  ];
  const entries = outgoing.map(({ subject, contract, value }) => {
    return { subject, data: encode(contract, value), headers: newHeaders() };
  });
  const outcome = await commit(client.connection, "INVENTORY", entries);
  if (outcome.kind !== "committed") throw new Error(`Cannot store: ${outcome.kind}`);
  await client.jsm.streams.deleteMessage("INVENTORY", outcome.lastSeq);
}

describe("ops ledgers", () => {
  it("lists every stream, buckets too, as whole", async () => {
    const { code, out } = await ops();
    expect(code).toBe(0);
    expect(out).toMatch(/^STREAM +MESSAGES +LAST +END$/m);
    for (const stream of ["ORDER", "CHECKOUT", "DEAD_LETTER", "KV_SCHEMAS"]) {
      expect(out).toMatch(new RegExp(`^${stream} +\\d+ +\\d+ +whole$`, "m"));
    }
  });

  it("shows half a commit and what to do, and removes it when told so", async () => {
    await tear("ord_1");
    const shown = await ops();
    expect(shown.code).toBe(1);
    expect(shown.out).toMatch(/^INVENTORY +2 +3 +half a commit: messages 1 to 2$/m);
    expect(shown.err).toBe("To mend it: npm run ops -- ledgers repair INVENTORY --dry-run\n");

    const dry = await ops("repair", "INVENTORY", "--dry-run");
    expect(dry).toMatchObject({ code: 0, out: "1  inventory.item.mug\n2  inventory.reservation.ord_1\n" });
    expect(dry.err).toContain("would remove 2 messages");
    expect((await ops()).code).toBe(1);

    const repaired = await ops("repair", "INVENTORY", "--json");
    expect(JSON.parse(repaired.out)).toMatchObject({ stream: "INVENTORY", torn: true, removed: 2 });
    expect((await ops()).code).toBe(0);
    const again = await ops("repair", "INVENTORY");
    expect(again).toMatchObject({ code: 0, out: "" });
    expect(again.err).toContain("INVENTORY ends in a whole commit");
  });

  it("does not remove what a consumer was given, unless it is forced", async () => {
    await tear("ord_2");
    const { js } = client;
    const consumer = await js.consumers.get("INVENTORY", "analytics");
    for await (const msg of await consumer.fetch({ max_messages: 1, expires: 1_000 })) msg.ack();
    const refused = await ops("repair", "INVENTORY");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("analytics was given some of it");
    expect(refused.err).toContain("nothing is removed; --force removes it");
    const forced = await ops("repair", "INVENTORY", "--force");
    expect(forced.code).toBe(0);
    expect(forced.err).toContain("removed 2 messages");
    expect((await ops()).code).toBe(0);
  });

  it("does what the documentation shows", async () => {
    const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
    const commands = [...page.matchAll(/^npm run ops -- ledgers ?(.*)$/gm)].map(([, args = ""]) => args);
    expect(commands.length).toBeGreaterThan(2);
    for (const args of commands) expect((await ops(...args.split(" ").filter(Boolean))).code).toBe(0);
  });

  it("names the streams where there is none of that name", async () => {
    const { code, err } = await ops("repair", "NONE");
    expect(code).toBe(2);
    expect(err).toContain('there is no stream "NONE": ORDER, CHECKOUT,');
  });
});
