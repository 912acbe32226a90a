import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  applyTopology,
  commit,
  consumersOf,
  encode,
  item,
  key,
  Ledger,
  newHeaders,
  newTrace,
  Processor,
  readLast,
  reserveStock,
  subjectOf,
} from "../../nats/mod.ts";
import { drained, silent, startNats, until } from "../../test/support/mod.ts";
import { handlers, seed } from "./decide.ts";

const COMMANDS = 500;

/** Has inventory reserve one unit for each of 500 orders that wait already, of these skus in turn. */
async function reserve(skus: readonly string[]) {
  await using nats = await startNats();
  await applyTopology({ servers: nats.url });
  const { connection, js, jsm } = await nats.connect();
  const entries = Array.from({ length: COMMANDS }, (_, n) => {
    const lines = [{ sku: skus[n % skus.length] ?? "", quantity: 1 }];
    const data = encode(reserveStock, create(reserveStock.schema, { orderId: `o${n}`, lines }));
    return { subject: subjectOf(reserveStock, `o${n}`), data, headers: newHeaders() };
  });
  expect(await commit(connection, "CHECKOUT", entries)).toMatchObject({ kind: "committed" });

  const commits: { outcome: string; messages: number; decisions: number }[] = [];
  await using ledger = new Ledger(connection, {
    stream: "INVENTORY",
    source: "/test",
    log: silent,
    onCommit: (attempt) => void commits.push(attempt),
  });
  await Promise.all(
    skus.map((sku) =>
      ledger.execute({
        keys: [key(item, sku)],
        trace: newTrace(),
        decide: (view) => seed(view, sku, { available: COMMANDS, unitPriceCents: 100 }),
      }),
    ),
  );
  commits.length = 0;
  await using _processor = new Processor(connection, js, ledger, {
    service: "inventory",
    consumers: consumersOf("inventory"),
    handlers,
    log: silent,
  });
  await until("all commands to be handled", () => drained(jsm, "CHECKOUT", "inventory"));
  const items = await Promise.all(skus.map((sku) => readLast(connection, "INVENTORY", key(item, sku))));
  const { state } = await jsm.streams.info("INVENTORY", { subjects_filter: "inventory.item.*" });
  const versions = Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  return {
    commits,
    reserved: items.reduce((sum, { value }) => sum + Number(value?.reserved), 0),
    /** How often an item was stored, without the seed. */
    versions: versions - skus.length,
  };
}

describe("one hot sku", () => {
  it("is as fast as many: it takes no more commits, and each of them stores it once", async () => {
    const many = await reserve(Array.from({ length: 100 }, (_, n) => `sku-${n}`));
    const hot = await reserve(["hot"]);
    expect([many.reserved, hot.reserved]).toEqual([COMMANDS, COMMANDS]);
    for (const { commits } of [many, hot]) {
      expect(commits.map(({ outcome }) => outcome)).toEqual(commits.map(() => "committed"));
      expect(commits.reduce((sum, { decisions }) => sum + decisions, 0)).toBe(COMMANDS);
    }
    // What waits for the same commit shares it, whatever it is about. How many that are is the machine's to say.
    expect(hot.commits.length).toBeLessThan(COMMANDS / 10);
    expect(hot.commits.length).toBeLessThanOrEqual(2 * many.commits.length + 5);
    // Two messages for each order, and the item.
    for (const { messages, decisions } of hot.commits) expect(messages).toBe(2 * decisions + 1);
    expect(hot.versions).toBe(hot.commits.length);
  });
});
