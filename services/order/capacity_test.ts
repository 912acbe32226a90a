import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { applyTopology } from "../../nats/mod.ts";
import { type NatsServer, silent, startNats, until } from "../../test/support/mod.ts";
import { watchCapacity } from "./capacity.ts";

describe("watchCapacity()", () => {
  let nats: NatsServer;
  let watching: AbortController;
  beforeEach(async () => {
    nats = await startNats({ configure: (text) => text.replace("$NATS_MAX_FILE_STORE", "100KB") });
    await applyTopology({ servers: nats.url });
    watching = new AbortController();
  });
  afterEach(async () => {
    watching.abort();
    await nats[Symbol.asyncDispose]();
  });

  it("says so before the limit is reached, and when there is room again", async () => {
    const { signal } = watching;
    const capacity = watchCapacity({ monitorUrl: nats.monitorUrl, log: silent, signal, everyMs: 10 });
    const { js, jsm } = await nats.connect();
    expect(capacity.full).toBe(false);
    for (let n = 0; n < 98; n++) await js.publish(`order.filler.${n}`, new Uint8Array(950));
    await until("the store to be nearly full", () => capacity.full);
    await jsm.streams.purge("ORDER");
    await until("room again", () => !capacity.full);
  });

  it("holds on to what was said last while the server is away", async () => {
    const { signal } = watching;
    const capacity = watchCapacity({ monitorUrl: nats.monitorUrl, log: silent, signal, everyMs: 10 });
    const { js } = await nats.connect();
    for (let n = 0; n < 98; n++) await js.publish(`order.filler.${n}`, new Uint8Array(950));
    await until("the store to be nearly full", () => capacity.full);
    await nats.restart();
    expect(capacity.full).toBe(true);
  });

  it("is full while a stream is not written, whichever it is: an order needs all of them", async () => {
    const { signal } = watching;
    let unwritable: string[] = [];
    const { monitorUrl } = nats;
    const capacity = watchCapacity({
      monitorUrl,
      unwritable: () => unwritable,
      log: silent,
      signal,
      everyMs: 10,
    });
    expect(capacity.full).toBe(false);
    unwritable = ["PAYMENT"];
    await until("no order to be accepted", () => capacity.full);
    unwritable = [];
    await until("orders to be accepted", () => !capacity.full);
  });

  it("has always room where nobody says how full it is", () => {
    expect(watchCapacity({ monitorUrl: undefined, log: silent, signal: watching.signal }).full).toBe(false);
  });
});
