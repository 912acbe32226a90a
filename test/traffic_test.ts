import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { orderKinds } from "../tools/order_kinds.ts";
import { openShop, openStreams, type TestShop } from "./support/mod.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await openShop({ CHARGING_DEADLINE_MS: "3000", SANDBOX_SLOW_MS: "5000" });
});
afterAll(() => shop[Symbol.asyncDispose]());

function start(args: string[], { interrupted = new AbortController() } = {}) {
  const { output, text } = collect();
  const environment = {
    NATS_URL: shop.shop.natsUrl,
    DATA_DIR: shop.folder,
    ORDER_URL: shop.shop.url("order"),
    FRAUD_URL: shop.shop.url("fraud"),
    OPERATOR_TOKEN: "dev",
  };
  const ended = runOps(["traffic", ...args], { output, environment, interrupted: () => interrupted.signal });
  return { text, ended, output };
}

interface Summary {
  orders: number;
  ended: number;
  otherwise: number;
  refused: object;
  kinds: { kind: string; orders: number; became: Record<string, number>; order_ids: string[] }[];
}

describe("ops traffic", () => {
  it("places orders of every ending, has reviews decided, and says what became of each", async () => {
    const { text, ended } = start(["--rate", "20", "--for", "1s", "--json"]);
    expect(await ended, text().err).toBe(0);
    const { orders, ended: over, otherwise, refused, kinds }: Summary = JSON.parse(text().out);
    expect({ orders, over, otherwise, refused }).toEqual({ orders: 20, over: 19, otherwise: 0, refused: {} });
    expect(kinds.map(({ kind }) => kind).toSorted()).toEqual(
      Object.values(orderKinds)
        .map(({ name }) => name)
        .toSorted(),
    );
    for (const { name, ends } of Object.values(orderKinds)) {
      const became = Object.keys(kinds.find(({ kind }) => kind === name)?.became ?? {});
      expect([name, became.every((end) => ["in_review", ...ends].some((it) => it === end))]).toEqual([
        name,
        true,
      ]);
    }
    // They are orders like any other: nothing is left apart.
    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet();
    const { output, text: told } = collect();
    const environment = { NATS_URL: shop.shop.natsUrl, DATA_DIR: shop.folder };
    expect(await runOps(["reconcile"], { output, environment }), told().out).toBe(0);
  }, 60_000);

  it("prints a table, and lines about it elsewhere", async () => {
    const { text, ended } = start(["--rate", "10", "--for", "0.3s", "--mix", "smooth"]);
    expect(await ended, text().err).toBe(0);
    const { out, err } = text();
    expect(out).toMatch(/^KIND +ORDERS +BECAME +FOR EXAMPLE\nstandard +1 +completed 1 +ord_\S+\n/);
    expect(err).toMatch(/^3 orders in \d+ s, 3 ended$/m);
  }, 30_000);

  it("stops when it is interrupted, with the summary of what there is", async () => {
    const interrupted = new AbortController();
    const { text, ended, output } = start(["--rate", "20", "--for", "1h", "--mix", "smooth"], {
      interrupted,
    });
    await shop.reaches(await shop.place(), "completed");
    interrupted.abort();
    expect(await ended, text().err).toBe(0);
    expect(text().err).toMatch(/^\d+ orders? in \d+ s, /m);
    expect(text().out).toContain("standard");
    expect(output).toBeDefined();
  }, 30_000);

  it("says at once that no shop answers, and ends with 1", async () => {
    const { output, text } = collect();
    const environment = {
      NATS_URL: shop.shop.natsUrl,
      DATA_DIR: shop.folder,
      ORDER_URL: "http://127.0.0.1:9",
    };
    expect(await runOps(["traffic"], { output, environment })).toBe(1);
    expect(text().err).toMatch(
      /^Cannot place orders at http:\/\/127\.0\.0\.1:9: no answer; does the shop run/,
    );
  });

  it("is bounded: ends with 2 for what is too much, or no number", async () => {
    for (const args of [
      ["--rate", "0"],
      ["--rate", "201"],
      ["--for", "2h"],
      ["--for", "forever"],
      ["--mix", "nuts"],
      ["--rate", "200", "--for", "1h"],
    ])
      expect([args, await start(args).ended]).toEqual([args, 2]);
  });
});
