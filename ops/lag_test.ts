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
  reserveStock,
} from "../nats/mod.ts";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { duration, type lagJson } from "./lag.ts";
import { runOps } from "./program.ts";
import { collect } from "./testing.ts";

let nats: NatsServer;
let client: Client;
beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  const at = timestampFromMs(Date.now() - 120_000);
  await store(message(reserveStock, "o1", { orderId: "o1" }));
  await store(
    message(checkoutState, "o1", { state: "reserving", history: [{ state: "reserving", at }], deadline: at }),
    message(checkoutTimer, "o1", { orderId: "o1" }),
  );
});
afterAll(() => nats[Symbol.asyncDispose]());

async function store(...messages: Outgoing[]): Promise<void> {
  const entries = messages.map(({ subject, contract, value }) => {
    return { subject, data: encode(contract, value), headers: newHeaders() };
  });
  expect((await commit(client.connection, "CHECKOUT", entries)).kind).toBe("committed");
}

function lag(args: string[], interrupted?: AbortSignal, terminal = false) {
  const { output, text } = collect();
  if (terminal) Object.assign(output.out, { isTTY: true, getColorDepth: () => 4, hasColors: () => true });
  const environment = { NATS_URL: nats.url, DATA_DIR: "/nowhere" };
  const options = { output, environment, ...(interrupted && { interrupted: () => interrupted }) };
  return { text, ended: runOps(["lag", ...args], options) };
}

describe("ops lag", () => {
  it("prints a table once where there is no terminal, projections too, though no service runs", async () => {
    const { text, ended } = lag([]);
    expect(await ended).toBe(0);
    const { out } = text();
    expect(out).toMatch(/^SERVICE +STREAM +PENDING +UNACKED +OLDEST$/m);
    expect(out).toMatch(/^inventory +CHECKOUT +1 +0 +\d/m);
    expect(out).toMatch(/^payment +CHECKOUT +0 +0 +-$/m);
    expect(out).toMatch(/^behind: inventory 1, analytics 1$/m);
    expect(out).toMatch(/^reserving +1 +2m \d+s$/m);
    expect(out).toMatch(/^1 past their deadline$/m);
    expect(out).not.toContain("\x1b");
  });

  it("prints the same as JSON, on a terminal as well", async () => {
    const { text, ended } = lag(["--json"], undefined, true);
    expect(await ended).toBe(0);
    const found: ReturnType<typeof lagJson> = JSON.parse(text().out);
    const inventory = found.services.find(({ service }) => service === "inventory");
    expect(inventory).toMatchObject({ consumer_lag_sum: 1, lag_seconds: expect.any(Number) });
    expect(inventory?.lag_seconds).toBeGreaterThan(0);
    expect(found.checkouts.find(({ state }) => state === "reserving")).toMatchObject({ count: 1 });
    expect(found.overdue).toBe(1);
  });

  it("refreshes a terminal until it is interrupted, and ends with 0", async () => {
    const interrupt = new AbortController();
    const { text, ended } = lag([], interrupt.signal, true);
    await until("the first table", () => /inventory +CHECKOUT +1 /.test(text().out));
    await store(message(reserveStock, "o2", { orderId: "o2" }));
    await until("a table with both", () => /inventory +CHECKOUT +2 /.test(text().out));
    interrupt.abort();
    expect(await ended).toBe(0);
  });

  it("prints once on a terminal that asks for it", async () => {
    const { text, ended } = lag(["--once"], undefined, true);
    expect(await ended).toBe(0);
    expect(text().out).toContain("SERVICE");
  });

  it("ends with 1 when a consumer is missing", async () => {
    await client.jsm.consumers.delete("CHECKOUT", "payment");
    const { text, ended } = lag([]);
    expect(await ended).toBe(1);
    expect(text().out).toMatch(/^payment +CHECKOUT +missing$/m);
    await applyTopology({ servers: nats.url });
  });
});

describe("duration()", () => {
  it.each([
    [0.42, "0.4s"],
    [12.9, "12s"],
    [192, "3m 12s"],
    [7_500, "2h 5m"],
    [273_600, "3d 4h"],
  ])("says %d s in two units at most", (seconds, text) => expect(duration(seconds)).toBe(text));
});
