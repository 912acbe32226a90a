import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyTopology,
  chargePayment,
  commit,
  encode,
  findDeadLetter,
  Ledger,
  message,
  newHeaders,
  Processor,
  park,
  passStartGate,
  ReadGate,
  reserveStock,
  SchemaStore,
  screenOrder,
} from "../nats/mod.ts";
import { handlers } from "../services/inventory/decide.ts";
import { type Client, type NatsServer, parkNext, silent, startNats, until } from "../test/support/mod.ts";
import { runOps } from "./program.ts";
import { collect } from "./testing.ts";

const main = fileURLToPath(new URL("./main.ts", import.meta.url));
let nats: NatsServer;
let client: Client;
let store: SchemaStore;
let dataSchemas: Awaited<ReturnType<typeof passStartGate>>;

beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  store = new SchemaStore(client.connection, { source: "test", log: silent });
  const options = { service: "coordinator", registryUrl: "http://registry", log: silent };
  dataSchemas = await passStartGate({ jsm: client.jsm, store }, options);
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

const environment = () => ({ NATS_URL: nats.url, USER: "eve", DATA_DIR: "/nowhere" });

/** `npm run ops -- …`, whose output is no terminal. */
async function ops(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { output, text } = collect();
  const code = await runOps(args, { output, environment: environment() });
  return { code, ...text() };
}

interface Poison {
  readonly data: Uint8Array;
  /** Default: the right one. */
  readonly dataSchema?: string;
}

/** Commands that inventory has parked. */
async function parked(...payloads: (Uint8Array | string | Poison)[]): Promise<string[]> {
  const ids: string[] = [];
  const consumer = await client.js.consumers.get("CHECKOUT", "inventory");
  for (const payload of payloads) {
    const data =
      typeof payload === "string"
        ? encode(reserveStock, message(reserveStock, payload, { orderId: payload }).value)
        : payload;
    const headers = newHeaders();
    headers.set("ce-dataschema", dataSchemas.get(reserveStock) ?? "");
    if (!(data instanceof Uint8Array)) headers.set("ce-dataschema", data.dataSchema ?? "");
    const bytes = data instanceof Uint8Array ? data : data.data;
    const entry = { subject: "checkout.reserve_stock.o1", data: bytes, headers };
    expect((await commit(client.connection, "CHECKOUT", [entry])).kind).toBe("committed");
    const msg = await consumer.next();
    if (msg === null) throw new Error("not delivered");
    const error = typeof payload === "string" ? `about ${payload}` : "about poison";
    await park(client.connection, msg, { service: "inventory", error });
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

  it("redrive --dry-run: says what comes of it when it is done", async () => {
    const value = message(reserveStock, "o1", { orderId: "o1" }).value;
    const data = encode(reserveStock, value);
    // Field 1000, which no schema has, as a newer build would write it.
    const unknown = new Uint8Array([...data, 0xc1, 0x3e, 0, 0, 0, 0, 0, 0, 0, 0]);
    const screen = dataSchemas.get(screenOrder) ?? "";
    const ids = await parked(
      { data: unknown, dataSchema: dataSchemas.get(reserveStock) ?? "" },
      { data: unknown, dataSchema: "" },
      { data: unknown, dataSchema: screen.replace(/\d+$/, "99999") },
      { data, dataSchema: screen },
      new Uint8Array([255]),
    );
    const dry = await ops("dead-letters", "redrive", ...ids, "--dry-run", "--json");
    const results: { outcome: string; detail: string; checked: string[]; unchecked: string[] }[] = JSON.parse(
      dry.out,
    ).results;
    expect(results.map(({ outcome, detail }) => `${outcome}: ${detail}`)).toEqual([
      expect.stringMatching(
        /^would_redrive: is shop\.checkout\.v1\.ReserveStock; 8 bytes of fields that this build does not know/,
      ),
      expect.stringMatching(/^would_fail: unreadable: it names no schema/),
      expect.stringMatching(/^would_fail: unreadable: it names a schema that the registry does not have/),
      expect.stringMatching(/^would_fail: unreadable: schema \d+ has no shop\.checkout\.v1\.ReserveStock/),
      expect.stringMatching(/^would_fail: /),
    ]);
    expect(results[0]).toMatchObject({
      checked: ["reader", "payload", "schema", "decision", "effect"],
      unchecked: [],
    });
    // The whole truth: the service itself gets all of them.
    await ops("dead-letters", "redrive", ...ids, "--force");
    const gate = new ReadGate(store);
    const ledger = new Ledger(client.connection, { stream: "INVENTORY", source: "/test", log: silent });
    const processor = new Processor(client.connection, client.js, ledger, {
      service: "inventory",
      consumers: [{ stream: "DEAD_LETTER", name: "inventory" }],
      handlers,
      log: silent,
      readable: (...asked) => gate.check(...asked),
    });
    const statuses = () => Promise.all(ids.map((id) => status(id)));
    await until("all to be dealt with", async () => !(await statuses()).includes("redriven"));
    expect(await statuses()).toEqual(["handled", "parked", "parked", "parked", "parked"]);
    await processor.shutdown();
    await ledger.shutdown();
  });

  it("redrive --dry-run: tries the decision on what is stored, and leaves the effect", async () => {
    const charge = message(chargePayment, "o7", { orderId: "o7", amountCents: 100n, currency: "EUR" });
    const headers = newHeaders();
    headers.set("ce-dataschema", dataSchemas.get(chargePayment) ?? "");
    const entry = { subject: charge.subject, data: encode(chargePayment, charge.value), headers };
    expect((await commit(client.connection, "CHECKOUT", [entry])).kind).toBe("committed");
    const id = await parkNext(client, "CHECKOUT", "payment");
    const dry = await ops("dead-letters", "redrive", id, "--dry-run");
    expect(dry.out).toMatch(
      /^would_redrive .*; payment would take it up, and go on outside the shop; not tried: its effect\n$/,
    );
    const state = { subject: "payment.payment.o7", data: new Uint8Array([255]), headers: newHeaders() };
    await commit(client.connection, "PAYMENT", [state]);
    const broken = await ops("dead-letters", "redrive", id, "--dry-run");
    expect(broken.out).toMatch(/^would_fail .*Cannot read payment\.payment\.o7/);
    expect((await ops("dead-letters", "redrive", id)).code).toBe(1);
    expect(await status(id)).toBe("parked");
    const { state: messages } = await client.jsm.streams.info("PAYMENT");
    expect(messages.messages).toBe(1);
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
