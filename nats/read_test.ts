import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { commit, encode, item, message, newHeaders, subjectOf } from "./mod.ts";
import { MAX_PAGE, viewAll, viewPage } from "./read.ts";

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
