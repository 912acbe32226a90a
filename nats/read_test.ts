import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { commit, encode, item, key, message, newHeaders, subjectOf } from "./mod.ts";
import { MAX_PAGE, UnreadableStateError, viewAll, viewMany, viewPage } from "./read.ts";

let server: NatsServer;
let client: Client;
beforeAll(async () => {
  server = await startNats();
  client = await server.connect();
  await client.jsm.streams.add({
    name: "ITEMS",
    subjects: ["inventory.>"],
    allow_direct: true,
    allow_atomic: true,
  });
});
afterAll(() => server[Symbol.asyncDispose]());

async function store(count: number): Promise<void> {
  const entries = Array.from({ length: count }, (_, index) => ({
    subject: subjectOf(item, `s${index}`),
    data: encode(item, message(item, `s${index}`, { sku: `s${index}` }).value),
    headers: newHeaders(),
  }));
  for (let from = 0; from < count; from += 1_000) {
    const outcome = await commit(client.connection, "ITEMS", entries.slice(from, from + 1_000));
    expect(outcome.kind).toBe("committed");
  }
}

describe("viewPage()", () => {
  it("has no messages where there are none", async () => {
    expect(await viewPage(client.jsm, "ITEMS", item, { from: 1, limit: 10 })).toEqual([]);
  });

  it("has the messages from a sequence on, and no more than were asked for", async () => {
    await store(2 * MAX_PAGE + 10);
    const page = await viewPage(client.jsm, "ITEMS", item, { from: 5, limit: 3 });
    expect(page.map(({ seq, value }) => [seq, value.sku])).toEqual([
      [5, "s4"],
      [6, "s5"],
      [7, "s6"],
    ]);
  });

  it("leaves no subscription behind", async () => {
    const subscriptions = async () => {
      const varz = (await (await fetch(`${server.monitorUrl}/varz`)).json()) as { subscriptions: number };
      return varz.subscriptions;
    };
    const before = await subscriptions();
    for (let n = 0; n < 20; n++) await viewPage(client.jsm, "ITEMS", item, { from: 1, limit: 5 });
    // The server hears of the end of a subscription a moment after the client.
    await until("the subscriptions to end", async () => (await subscriptions()) <= before);
  });
});

describe("viewAll()", () => {
  it("goes on from page to page to the end", async () => {
    const ids: string[] = [];
    for await (const { id } of viewAll(client.jsm, "ITEMS", item)) ids.push(id);
    expect(ids).toEqual(Array.from({ length: 2 * MAX_PAGE + 10 }, (_, index) => `s${index}`));
  });
});

describe("viewMany()", () => {
  const keysOf = (...ids: string[]) => ids.map((id) => key(item, id));

  it("has the last message of each key, in their order, and says where there is none", async () => {
    const found = await viewMany(client.jsm, "ITEMS", keysOf("s7", "ghost", "s3", "s7"));
    expect(found.map((value) => value?.sku)).toEqual(["s7", undefined, "s3", "s7"]);
    expect(await viewMany(client.jsm, "ITEMS", keysOf("ghost"))).toEqual([undefined]);
    expect(await viewMany(client.jsm, "ITEMS", [])).toEqual([]);
  });

  it("has more than the server gives at a time, in number and in bytes", async () => {
    const ids = Array.from({ length: 2 * MAX_PAGE + 5 }, (_, index) => `s${index}`);
    const found = await viewMany(client.jsm, "ITEMS", keysOf(...ids));
    expect(found.map((value) => value?.sku)).toEqual(ids);

    const large = Array.from({ length: 100 }, (_, index) => `large${index}`);
    const currency = "x".repeat(500_000);
    for (const id of large) {
      const data = encode(item, message(item, id, { sku: id, currency }).value);
      const entry = { subject: subjectOf(item, id), data, headers: newHeaders() };
      expect(await commit(client.connection, "ITEMS", [entry])).toMatchObject({ kind: "committed" });
    }
    const all = await viewMany(client.jsm, "ITEMS", keysOf(...large, "ghost"));
    expect(all.map((value) => value?.sku)).toEqual([...large, undefined]);
  });

  it("says which message cannot be read", async () => {
    const entry = { subject: subjectOf(item, "poison"), data: Buffer.from("no"), headers: newHeaders() };
    expect(await commit(client.connection, "ITEMS", [entry])).toMatchObject({ kind: "committed" });
    await expect(viewMany(client.jsm, "ITEMS", keysOf("s1", "poison"))).rejects.toThrow(UnreadableStateError);
  });
});
