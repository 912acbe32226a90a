import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applyTopology, chargePayment, commit, encode, message, newHeaders } from "../nats/mod.ts";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { runOps } from "./program.ts";
import { collect } from "./testing.ts";

let nats: NatsServer;
let client: Client;
beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  // Three charges: two that payment has acknowledged, and one that it has not seen.
  for (const id of ["o1", "o2", "o3"]) {
    const { subject, contract, value } = message(chargePayment, id, { orderId: id });
    const entry = { subject, data: encode(contract, value), headers: newHeaders() };
    expect((await commit(client.connection, "CHECKOUT", [entry])).kind).toBe("committed");
  }
  const consumer = await client.js.consumers.get("CHECKOUT", "payment");
  for await (const msg of await consumer.fetch({ max_messages: 2, expires: 5_000 })) await msg.ackAck();
});
afterAll(() => nats[Symbol.asyncDispose]());

async function replay(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { output, text } = collect();
  const environment = { NATS_URL: nats.url, USER: "eve", DATA_DIR: "/nowhere" };
  const interrupted = () => new AbortController().signal;
  return { code: await runOps(["replay", ...args], { output, environment, interrupted }), ...text() };
}

const positions = async () => {
  const info = await client.jsm.consumers.info("CHECKOUT", "payment");
  return { delivered: info.delivered, floor: info.ack_floor, paused: info.paused ?? false };
};

describe("ops replay", () => {
  it("says in a dry run how many messages, which services and which side effects, and changes nothing", async () => {
    const before = await positions();
    const { code, out, err } = await replay("payment", "--from", "start", "--dry-run");
    expect(code).toBe(0);
    expect(out).toMatch(
      /^CHECKOUT\/payment +1 +2 +captures and refunds: none is repeated, 2 messages are skipped$/m,
    );
    expect(out).toMatch(/^DEAD_LETTER\/payment +1 +0 +nothing: there is none$/m);
    expect(out).toMatch(/^checkout.charge_payment +2$/m);
    expect(err).toBe("Nothing was changed; services that it would touch: payment\n");
    const { out: json } = await replay("CHECKOUT/payment", "--from", "2", "--dry-run", "--json");
    expect(JSON.parse(json)).toEqual({
      dry_run: true,
      outcome: "would_replay",
      consumers: [
        {
          consumer: "CHECKOUT/payment",
          service: "payment",
          stream: "CHECKOUT",
          from: 2,
          up_to: 2,
          messages: 1,
          subjects: { "checkout.charge_payment": 1 },
          effects: "captures and refunds",
          skipped: 1,
        },
      ],
    });
    expect(await positions()).toEqual(before);
    expect((await client.jsm.streams.info("KV_REPLAYS")).state.last_seq).toBe(0);
  });

  it("never leaves messages out: from where the consumer has not come to, there is nothing to replay", async () => {
    const before = await positions();
    const { code, out, err } = await replay("CHECKOUT/payment", "--from", "3");
    expect({ code, err }).toEqual({ code: 0, err: "Nothing to replay\n" });
    expect(out).toContain("nothing: what is there is still to be handled");
    expect(await positions()).toEqual(before);
  });

  it.each([
    ["nobody --from start", 2, "There is no such consumer. Services: order, coordinator, inventory"],
    ["CHECKOUT/nobody --from start", 2, "Those like it: CHECKOUT/coordinator, CHECKOUT/inventory"],
    ["payment", 2, "required option '--from <position>' not specified"],
    ["payment --from 1", 2, "name a consumer (CHECKOUT/payment, PAYMENT/payment, DEAD_LETTER/payment)"],
    ["CHECKOUT/payment --from 0", 2, "A sequence is a positive whole number"],
    ["CHECKOUT/payment --from 1.5", 2, "A sequence is a positive whole number"],
    ["CHECKOUT/payment --from 99999999999999999999", 2, "A sequence is a positive whole number"],
    ["payment --from 2026-01", 2, "nor a time such as 2026-01-31T08:00:00Z"],
    ["payment --from 2026-01-31T08:00:00", 2, "nor a time such as 2026-01-31T08:00:00Z"],
    ["payment --from 2026-13-31T08:00:00Z", 2, "nor a time such as 2026-01-31T08:00:00Z"],
    [
      "CHECKOUT/payment --from 4",
      1,
      "Cannot replay CHECKOUT/payment from 4: the last message of CHECKOUT is 3",
    ],
    ["payment --from 2099-01-01T00:00:00Z", 1, "nothing was stored since in CHECKOUT, PAYMENT, DEAD_LETTER"],
    [
      "analytics --from 2026-01-31T08:00:00Z",
      1,
      "which is rebuilt as a whole: replay analytics --from start",
    ],
    ["ORDER/analytics --from start", 1, "which is rebuilt as a whole: replay analytics --from start"],
  ])("refuses %s", async (args, code, text) => {
    const { err, ...ended } = await replay(...args.split(" "));
    expect(ended).toEqual({ code, out: "" });
    expect(err).toContain(text);
  });

  it("says where the consumer stands afterwards, and what it did, step by step", async () => {
    const { code, out, err } = await replay(
      "CHECKOUT/payment",
      "--from",
      "1970-01-01T00:00:00+01:00",
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      dry_run: false,
      outcome: "replayed",
      consumers: [
        {
          from: 1,
          up_to: 2,
          messages: 2,
          under_way: 0,
          position: { delivered: 0, acknowledged: 0, pending: 3 },
        },
      ],
    });
    expect(err.trimEnd().split("\n")).toEqual([
      "paused CHECKOUT/payment",
      "CHECKOUT/payment: what comes up to 2 is a replay",
      "waiting 7 s, after which every process knows what is a replay",
      "CHECKOUT/payment: reset to 1",
      "resumed CHECKOUT/payment",
    ]);
    const stored = await client.jsm.streams.getMessage("KV_REPLAYS", {
      last_by_subj: "$KV.REPLAYS.CHECKOUT.payment",
    });
    expect(stored?.json()).toMatchObject({ up_to: 2, from: 1, by: "eve" });
    await until("the end of the pause", async () => !(await positions()).paused);
  }, 30_000);
});
