import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyTopology,
  commit,
  encode,
  findDeadLetter,
  message,
  newHeaders,
  park,
  reserveStock,
} from "../nats/mod.ts";
import { type Client, type NatsServer, startNats } from "../test/support/mod.ts";
import { runOps } from "./program.ts";
import { collect } from "./testing.ts";

const main = fileURLToPath(new URL("./main.ts", import.meta.url));
let nats: NatsServer;
let client: Client;

beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
});
afterAll(() => nats[Symbol.asyncDispose]());

const environment = () => ({ NATS_URL: nats.url, USER: "eve", DATA_DIR: "/nowhere" });

/** `npm run ops -- …`, whose output is no terminal. */
async function ops(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { output, text } = collect();
  const code = await runOps(args, { output, environment: environment() });
  return { code, ...text() };
}

/** Commands that inventory has parked. */
async function parked(...payloads: (Uint8Array | string)[]): Promise<string[]> {
  const ids: string[] = [];
  const consumer = await client.js.consumers.get("CHECKOUT", "inventory");
  for (const payload of payloads) {
    const data =
      typeof payload === "string"
        ? encode(reserveStock, message(reserveStock, payload, { orderId: payload }).value)
        : payload;
    const entry = { subject: "checkout.reserve_stock.o1", data, headers: newHeaders() };
    expect((await commit(client.connection, "CHECKOUT", [entry])).kind).toBe("committed");
    const msg = await consumer.next();
    if (msg === null) throw new Error("not delivered");
    await park(client.connection, msg, { service: "inventory", error: `about ${payload}` });
    await msg.ackAck();
    ids.push(`inventory.inventory.CHECKOUT.${msg.seq}`);
  }
  return ids;
}

const status = async (id = "") => (await findDeadLetter(client.jsm, id))?.status;

describe("ops dead-letters", () => {
  it("list: shows what is parked within 100 columns, without colours, and as JSON", async () => {
    const [id = ""] = await parked("x".repeat(300));
    const { code, out, err } = await ops("dead-letters", "list", "--service", "inventory");
    expect(code).toBe(0);
    expect(out).toContain(id);
    expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(out).not.toContain("\u001B");
    expect(err).toContain("found");
    const json = JSON.parse((await ops("dead-letters", "list", "--error", "xxx", "--json")).out);
    expect(json.dead_letters).toMatchObject([{ id, service: "inventory", status: "parked" }]);
    expect(JSON.parse((await ops("dl", "list", "--service", "fraud", "--json")).out)).toEqual({
      dead_letters: [],
    });
  });

  it("show: prints the payload by its schema, and ends with 1 if there is none", async () => {
    const [id = ""] = await parked("shown");
    const { out } = await ops("dead-letters", "show", id);
    expect(out).toContain('"orderId": "shown"');
    expect(JSON.parse((await ops("dead-letters", "show", id, "--json")).out).payload.schema).toBe(
      "shop.checkout.v1.ReserveStock",
    );
    const missing = await ops("dead-letters", "show", "inventory.inventory.CHECKOUT.999999");
    expect(missing).toMatchObject({ code: 1, out: "", err: expect.stringContaining("no such dead letter") });
  });

  it("redrive: checks first, redrives many by filter with a line for each, and is safe to repeat", async () => {
    const from = new Date().toISOString();
    const ids = await parked("r1", "r2", new Uint8Array([255]));
    const dry = await ops("dead-letters", "redrive", "--from", from, "--dry-run");
    expect(dry.code).toBe(1);
    expect(dry.err).toContain("2 would_redrive, 1 would_fail");
    expect(await status(ids[0])).toBe("parked");

    const done = await ops("dead-letters", "redrive", "--from", from, "--rate", "100", "--json");
    expect(done.code).toBe(1);
    expect(JSON.parse(done.out).counts).toEqual({ redriven: 2, would_fail: 1 });
    expect(await findDeadLetter(client.jsm, ids[0] ?? "")).toMatchObject({ status: "redriven", by: "eve" });

    const again = await ops("dead-letters", "redrive", ids[0] ?? "", ids[1] ?? "");
    expect(again.code).toBe(0);
    expect(again.out.trim().split("\n")).toEqual([
      expect.stringMatching(/^unchanged .*redriven by eve/),
      expect.stringMatching(/^unchanged /),
    ]);
    expect((await ops("dead-letters", "redrive", ids[2] ?? "", "--force")).code).toBe(0);
    expect(await status(ids[2])).toBe("redriven");
  });

  it("discard: wants a reason, and records it with the name", async () => {
    const [id = ""] = await parked("gone");
    expect((await ops("dead-letters", "discard", id)).code).toBe(2);
    expect((await ops("dead-letters", "discard", id, "--reason", "a test", "--by", "ada")).code).toBe(0);
    expect(await findDeadLetter(client.jsm, id)).toMatchObject({
      status: "discarded",
      by: "ada",
      note: "a test",
    });
  });

  it("ends with 2 when it is called wrongly, and with 1 when there is no server", async () => {
    for (const args of [
      [],
      ["dead-letters", "nonsense"],
      ["dead-letters", "redrive"],
      ["dead-letters", "redrive", "a.b.c.1", "--all"],
      ["dead-letters", "redrive", "--all", "--rate", "0"],
      ["dead-letters", "list", "--from", "yesterday"],
    ]) {
      const { code, err } = await ops(...args);
      expect({ args, code, err: err === "" ? "" : "says why" }).toEqual({ args, code: 2, err: "says why" });
    }
    expect((await ops("--help")).code).toBe(0);
    const environment = { NATS_URL: "nats://127.0.0.1:9", DATA_DIR: "/nowhere" };
    const { output, text } = collect();
    expect(await runOps(["dead-letters", "list"], { output, environment })).toBe(1);
    expect(text().err).toMatch(/^Cannot reach NATS at nats:\/\/127.0.0.1:9/);
  });

  it("says in one line what the server says", async () => {
    await using empty = await startNats();
    const { output, text } = collect();
    const environment = { NATS_URL: empty.url, DATA_DIR: "/nowhere" };
    expect(await runOps(["dead-letters", "redrive", "--all"], { output, environment })).toBe(1);
    expect(text().err).toMatch(/^Cannot go on: .+\n$/);
  });

  it("is a command", async () => {
    const env = { PATH: process.env.PATH, ...environment() };
    const args = [main, "dead-letters", "show", "inventory.inventory.CHECKOUT.999999"];
    const ran = promisify(execFile)(process.execPath, args, { env });
    await expect(ran).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("no such dead letter"),
    });
  });
});
