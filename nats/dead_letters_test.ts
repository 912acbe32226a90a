import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Client, drained, type NatsServer, silent, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { commit, newHeaders } from "./commit.ts";
import { key, message } from "./contracts/mod.ts";
import { DEAD_LETTER_STREAM } from "./dead_letter.ts";
import {
  type DeadLetterFilter,
  discardDeadLetter,
  findDeadLetter,
  lastChange,
  listDeadLetters,
  redriveDeadLetter,
  redriveDeadLetters,
} from "./dead_letters.ts";
import type { Handler, Outcome } from "./handler.ts";
import { inspect } from "./inspect_letter.ts";
import { Processor } from "./processor.ts";
import { add, counter, countsOf, openLedger, testTopology } from "./testing.ts";
import { type Topology, withDeadLetters } from "./topology.ts";

const topology: Topology = {
  ...testTopology,
  consumers: withDeadLetters([
    ...testTopology.consumers,
    { stream: "INBOX", service: "bystander", contracts: [add] },
  ]),
};

let server: NatsServer;
let client: Client;
let running: Processor[] = [];
beforeAll(async () => {
  server = await startNats();
  await applyTopology({ servers: server.url, topology });
  client = await server.connect();
});
afterEach(async () => {
  await Promise.all(running.map((processor) => processor.shutdown({ graceMs: 0 })));
  running = [];
});
afterAll(() => server[Symbol.asyncDispose]());

/** Adds one to the counter of the message's id, which makes every second effect visible. */
function handler(
  decide?: (seen: { seq: number; storedAt: Date; attempt: number }) => Outcome,
): Handler<typeof add.schema> {
  return {
    contract: add,
    keys: (_, id) => [key(counter, id)],
    decide(view, _, { id, seq, storedAt, attempt }) {
      const outcome = decide?.({ seq, storedAt, attempt });
      if (outcome !== undefined) return outcome;
      const available = (view.get(counter, id)?.available ?? 0n) + 1n;
      return { kind: "done", messages: [message(counter, id, { available })] };
    },
  };
}

const refusing = (reason = "absurd") => handler(() => ({ kind: "dead", reason }));

function start(service: string, handlers: readonly Handler<typeof add.schema>[]): string[] {
  const handled: string[] = [];
  const { ledger } = openLedger(client);
  const processor = new Processor(client.connection, client.js, ledger, {
    service,
    consumers: [
      { stream: "INBOX", name: service },
      { stream: DEAD_LETTER_STREAM, name: service },
    ],
    handlers,
    log: silent,
    onDelivery: ({ subject, outcome }) => void handled.push(`${subject} ${outcome}`),
  });
  running.push(processor);
  return handled;
}

async function stop(): Promise<void> {
  await Promise.all(running.splice(0).map((processor) => processor.shutdown()));
}

async function send(id: string, data?: Uint8Array): Promise<{ id: string; seq: number }> {
  const headers = newHeaders();
  headers.set("x-mine", "1");
  const payload = data ?? toBinary(add.schema, create(add.schema, { orderId: id }));
  const { seq } = await client.js.publish(`inbox.add.${id}`, payload, { headers, timeout: 20_000 });
  return { id: `test.test.INBOX.${seq}`, seq };
}

/** A message that `test` has parked. */
async function parked(id: string, reason?: string): Promise<string> {
  start("test", [refusing(reason)]);
  const sent = await send(id);
  await until("it to be parked", async () => (await status(sent.id)) === "parked");
  await stop();
  return sent.id;
}

const source = () => client;
const status = async (id: string) => (await findDeadLetter(client.jsm, id))?.status;
const ids = async (filter: DeadLetterFilter) =>
  (await listDeadLetters(client.jsm, filter, { limit: 100 })).letters.map(({ id }) => id);

describe("redriveDeadLetter()", () => {
  it("sends a message back to the one that parked it, as it was, and to nobody else", async () => {
    const id = await parked("back");
    const before = await findDeadLetter(client.jsm, id);
    const seen: unknown[] = [];
    const bystander = start("bystander", [handler()]);
    start("test", [
      handler((delivery) => {
        seen.push(delivery);
        return { kind: "done", messages: [message(counter, "back", { available: 7n })] };
      }),
    ]);
    await until("the bystander's own", () => bystander.length >= 1);
    const result = await redriveDeadLetter(source(), id, { by: "eve", topology });
    expect(result).toMatchObject({ outcome: "redriven", detail: "is shop.order.v1.IdempotencyKey" });
    await until("it to be handled", async () => (await status(id)) === "handled");
    // Not a first attempt, though it is delivered for the first time here: an effect of it may be there already.
    expect(seen).toEqual([{ seq: before?.sequence, storedAt: before?.storedAt, attempt: 2 }]);
    expect((await countsOf(client.jsm, "back")).at(-1)).toBe(7);
    expect(bystander.filter((delivery) => delivery.startsWith("inbox"))).toHaveLength(1);
    const after = await findDeadLetter(client.jsm, id);
    expect(after).toMatchObject({ by: "eve", attempt: 1, error: "absurd", subject: "inbox.add.back" });
    expect(after?.headers.get("x-mine")).toBe("1");
  });

  it("has one effect however often it is repeated", async () => {
    const id = await parked("twice");
    const results = await Promise.all(
      ["a", "b", "c", "d"].map((by) => redriveDeadLetter(source(), id, { by, topology })),
    );
    expect(results.map(({ outcome }) => outcome).sort()).toEqual([
      "redriven",
      "unchanged",
      "unchanged",
      "unchanged",
    ]);
    start("test", [handler()]);
    await until("it to be handled", async () => (await status(id)) === "handled");
    const again = await redriveDeadLetter(source(), id, { by: "a", topology });
    expect(again).toMatchObject({ outcome: "unchanged", detail: expect.stringMatching(/^it is handled/) });
    expect(await countsOf(client.jsm, "twice")).toEqual([1]);
  });

  it("parks it again when it fails again, as another attempt", async () => {
    const id = await parked("again", "first");
    await redriveDeadLetter(source(), id, { by: "eve", topology });
    start("test", [refusing("second")]);
    await until("the second attempt", async () => (await findDeadLetter(client.jsm, id))?.attempt === 2);
    expect(await findDeadLetter(client.jsm, id)).toMatchObject({
      status: "parked",
      error: "second",
      by: "eve",
    });
    await stop();
    await redriveDeadLetter(source(), id, { by: "eve", topology });
    start("test", [handler()]);
    await until("it to be handled", async () => (await status(id)) === "handled");
  });

  it("says in a dry run what would happen, and changes nothing", async () => {
    const id = await parked("dry");
    const before = await lastChange(source());
    const result = await redriveDeadLetter(source(), id, { by: "eve", dryRun: true, topology });
    expect(result.outcome).toBe("would_redrive");
    expect(await lastChange(source())).toBe(before);
    expect(await status(id)).toBe("parked");
  });

  it("leaves alone what its service would not decode, unless it is forced", async () => {
    start("test", [handler()]);
    const { id } = await send("broken", new Uint8Array([255]));
    await until("it to be parked", async () => (await status(id)) === "parked");
    const result = await redriveDeadLetter(source(), id, { by: "eve", topology });
    expect(result.outcome).toBe("would_fail");
    expect(await status(id)).toBe("parked");
    const forced = await redriveDeadLetter(source(), id, { by: "eve", force: true, topology });
    expect(forced.outcome).toBe("redriven");
    await until("the second attempt", async () => (await findDeadLetter(client.jsm, id))?.attempt === 2);
  });

  it("never sends back what was not written by the owner of its stream", async () => {
    start("test", [handler()]);
    const headers = newHeaders();
    headers.set("Nats-Stream", "TEST");
    const data = toBinary(add.schema, create(add.schema, { orderId: "forged" }));
    const { seq } = await client.js.publish("inbox.add.forged", data, { headers, timeout: 20_000 });
    const id = `test.test.INBOX.${seq}`;
    await until("it to be parked", async () => (await status(id)) === "parked");
    const result = await redriveDeadLetter(source(), id, { by: "eve", force: true, topology });
    expect(result).toMatchObject({
      outcome: "would_fail",
      detail: expect.stringContaining("not written by"),
    });
  });

  it("knows what is missing", async () => {
    const result = await redriveDeadLetter(source(), "test.test.INBOX.999999", { by: "eve", topology });
    expect(result.outcome).toBe("missing");
    expect((await redriveDeadLetter(source(), "no id", { by: "eve" })).outcome).toBe("missing");
  });
});

describe("discardDeadLetter()", () => {
  it("records who, when and why, keeps the message, and takes it off the list", async () => {
    const id = await parked("discard");
    expect(await ids({})).toContain(id);
    await discardDeadLetter(source(), id, { by: "eve", reason: "a test order" });
    expect(await findDeadLetter(client.jsm, id)).toMatchObject({
      status: "discarded",
      by: "eve",
      note: "a test order",
    });
    expect(await ids({})).not.toContain(id);
    expect(await ids({ status: "discarded" })).toContain(id);
    const redriven = await redriveDeadLetter(source(), id, { by: "eve", topology });
    expect(redriven.outcome).toBe("unchanged");
    expect(redriven.detail).toContain("discarded by eve");
  });
});

describe("listDeadLetters()", () => {
  it("filters by service, type, error and time, and turns pages", async () => {
    const began = new Date();
    const first = await parked("list-1", "out of ink");
    const second = await parked("list-2", "out of paper");
    const from = { from: began };
    expect(await ids(from)).toEqual([first, second]);
    expect(await ids({ ...from, error: "OF INK" })).toEqual([first]);
    expect(await ids({ ...from, service: "test", type: "inbox.add" })).toEqual([first, second]);
    expect(await ids({ ...from, service: "bystander" })).toEqual([]);
    expect(await ids({ ...from, type: "inbox.act" })).toEqual([]);
    expect(await ids({ to: began })).not.toContain(first);
    expect(await ids({ from: new Date(Date.now() + 3_600_000) })).toEqual([]);

    const page = await listDeadLetters(client.jsm, from, { limit: 1 });
    expect(page.letters.map(({ id }) => id)).toEqual([first]);
    const rest = await listDeadLetters(client.jsm, from, { limit: 9, from: page.next });
    expect(rest.letters.map(({ id }) => id)).toEqual([second]);
  });

  it("passes over what is no dead letter", async () => {
    const entry = { subject: "dead_letter.test.nonsense", data: new Uint8Array(), headers: newHeaders() };
    expect((await commit(client.connection, DEAD_LETTER_STREAM, [entry])).kind).toBe("committed");
    expect((await ids({ status: "all" })).every((id) => /\.\d+$/.test(id))).toBe(true);
    start("test", [handler()]);
    await until("it to be passed over", () => drained(client.jsm, DEAD_LETTER_STREAM, "test"));
  });
});

describe("redriveDeadLetters()", () => {
  it("redrives what matches and was parked before, each once, no faster than it is told", async () => {
    const began = new Date();
    start("test", [refusing()]);
    const sent = await Promise.all(Array.from({ length: 12 }, (_, n) => send(`many-${n}`)));
    await until("all to be parked", async () => (await ids({ from: began })).length === 12);
    // It runs on and parks each of them again, which is for the next time.
    const started = performance.now();
    const outcomes: string[] = [];
    const upTo = await lastChange(source());
    const options = { by: "eve", topology, rate: 40, upTo };
    for await (const { outcome } of redriveDeadLetters(source(), { from: began }, options))
      outcomes.push(outcome);
    expect(outcomes).toEqual(Array.from({ length: 12 }, () => "redriven"));
    expect(performance.now() - started).toBeGreaterThan((11 * 1_000) / 40 - 5);
    await until("all to be parked again", async () => {
      const letters = await Promise.all(sent.map(({ id }) => findDeadLetter(client.jsm, id)));
      return letters.every((letter) => letter?.attempt === 2 && letter.status === "parked");
    });
  });
});

describe("inspect()", () => {
  it("shows the payload by its schema, without means of payment", async () => {
    const letter = await findDeadLetter(client.jsm, await parked("inspect"));
    if (letter === undefined) throw new Error("not parked");
    expect(inspect(letter, { topology })).toEqual({
      kind: "decodes",
      schema: "shop.order.v1.IdempotencyKey",
      value: { orderId: "inspect" },
      unknownBytes: 0,
    });
    expect(inspect(letter)).toMatchObject({
      kind: "broken",
      error: "test does not read inbox.add from INBOX",
    });
    const { chargePayment, encode, topology: shop } = await import("./mod.ts");
    const charge = message(chargePayment, "o1", { orderId: "o1", paymentToken: "tok_visa" });
    const secret = {
      ...letter,
      service: "payment",
      stream: "CHECKOUT",
      type: "checkout.charge_payment",
      data: encode(chargePayment, charge.value),
    };
    expect(JSON.stringify(inspect(secret, { topology: shop }))).not.toContain("tok_visa");
  });
});
