import { cp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Seen } from "../nats/mod.ts";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { openShop, openStreams, sentMails, type TestShop, until } from "./support/mod.ts";

// What docs/operations.md says of a restored store, rehearsed.

let shop: TestShop;
let commands: string[];
beforeAll(async () => {
  const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
  const [, section = ""] = /^## A restored store\n(.*?)^## /ms.exec(page) ?? [];
  commands = [...section.matchAll(/^\s*npm run ops -- (.*)$/gm)].map(([, args = ""]) => args);
  shop = await openShop({ RECONCILE_SETTLE_MS: "500" }, { analytics: true });
});
afterAll(() => shop[Symbol.asyncDispose]());

async function ops(line: string) {
  const { output, text } = collect();
  const { servers, nkeyFile } = shop.shop.operator;
  const environment = {
    NATS_URL: servers,
    NATS_NKEY_FILE: nkeyFile,
    DATA_DIR: shop.folder,
    ANALYTICS_URL: shop.shop.url("analytics"),
  };
  const code = await runOps(line.split(" "), { output, environment });
  return { code, ...text() };
}

async function last(): Promise<Record<string, number>> {
  await using streams = await openStreams(shop.shop.operator);
  return await streams.lastSequences();
}

/** The next command of the page. */
function next(begin: string): Promise<{ code: number; out: string; err: string }> {
  const command = commands.shift() ?? "";
  expect(command.startsWith(begin)).toBe(true);
  return ops(command);
}

async function counted(): Promise<number> {
  const { body } = await shop.call<{ orders: unknown[] }>("analytics", "/orders?limit=100");
  return body.orders.length;
}

describe("docs/operations.md, A restored store", { timeout: 240_000 }, () => {
  it("starts no service before a person accepts it, and then all is right", async () => {
    const place = async (count: number) => {
      const ids = await Promise.all(Array.from({ length: count }, () => shop.place()));
      await Promise.all(ids.map((id) => shop.ends(id)));
      await using streams = await openStreams(shop.shop.operator);
      await streams.quiet();
      return ids;
    };
    const before = await place(6);
    await until("all to be counted", async () => (await counted()) === 6, { timeoutMs: 30_000 });

    const store = join(shop.folder, "nats");
    const backup = join(shop.folder, "backup");
    await shop.crash(() => cp(store, backup, { recursive: true }));
    await shop.shop.ready("analytics");
    await place(4);
    await until("all to be counted", async () => (await counted()) === 10, { timeoutMs: 30_000 });
    const mails = await sentMails(join(shop.folder, "mail"));
    await until("it to be remembered", async () => {
      const seen = JSON.parse(await readFile(join(shop.folder, "seen.json"), "utf8")) as Seen[];
      return Object.entries(await last()).every(([name, seq]) => {
        return seen.some((it) => it.stream === name && it.seq === seq);
      });
    });

    let isOpen = false;
    const opened = shop
      .crash(async () => {
        await rm(store, { recursive: true });
        await cp(backup, store, { recursive: true });
      })
      .then(() => {
        isOpen = true;
      });
    await until("the restore to be noticed", () => shop.reported.some((line) => /is older than/.test(line)), {
      timeoutMs: 60_000,
    });
    expect(shop.reported.find((line) => /is older than/.test(line))).toMatch(
      /^no service is started: .*ORDER: it has \d+ messages, and had \d+.*restored accept/,
    );
    expect(isOpen).toBe(false);

    expect((await ops("restored")).err).toBe("no restore was ever accepted\n");
    expect((await next("restored accept")).code).toBe(0);
    await opened;
    expect((await ops("restored")).out).toMatch(/^20\S+ by /);

    // Analytics says that it has counted what is gone, until it has counted again.
    // It comes when it comes: no order waits for it.
    const readiness = async () => (await shop.call("analytics", "/readyz").catch(() => undefined))?.status;
    await until("analytics to answer", async () => (await readiness()) !== undefined, { timeoutMs: 60_000 });
    expect(await readiness()).toBe(503);
    const after = await place(5);
    expect(await readiness()).toBe(503);
    expect((await next("replay analytics")).code).toBe(0);
    await shop.shop.ready("analytics");
    await until("all to be counted", async () => (await counted()) === 11, { timeoutMs: 30_000 });

    const reconciled = await next("reconcile");
    expect(reconciled).toMatchObject({ code: 0, out: "" });
    expect(commands).toEqual([]);

    // No mail of before was sent a second time.
    const sent = await sentMails(join(shop.folder, "mail"));
    expect(sent).toHaveLength(mails.length + 2 * after.length);
    for (const id of before) expect((await shop.order(id)).state).toBe("completed");
    await until("the monitor to have compared all", async () => {
      const metrics = await (await fetch(`${shop.shop.url("monitor")}/metrics`)).text();
      const value = (name: string) => Number(new RegExp(`^${name}[^ ]* (\\S+)$`, "m").exec(metrics)?.[1]);
      return value("shop_reconciler_orders_checked_total") >= 11 && value("shop_store_older_streams") === 0;
    });
    const metrics = await (await fetch(`${shop.shop.url("monitor")}/metrics`)).text();
    const violations = [...metrics.matchAll(/^shop_reconciler_violations\S* (\d+)$/gm)];
    expect(violations.map(([, count]) => count)).toEqual(violations.map(() => "0"));
  });
});
