import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { catalogueItem, key, message, orderCreated, orderShipped, payment, readLast } from "../nats/mod.ts";
import type { Order } from "../services/order/decide.ts";
import { body, openShop, readJson, type Shop } from "../services/order/test_shop.ts";
import { startProxy, until } from "../test/support/mod.ts";
import { columns, personalColumns } from "./export_columns.ts";
import { FIRST_PLACED_MS, liveBytes, store, writeOrders } from "./export_testing.ts";
import { runOps } from "./program.ts";
import { collect, shell as runShell } from "./testing.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "export-test-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const environmentFor = (url: string) => ({ NATS_URL: url, DATA_DIR: "/nowhere" });

/** `npm run ops -- export orders …`, whose output is no terminal. */
async function exportOrders(url: string, args: readonly string[], options: { signal?: AbortSignal } = {}) {
  const { output, text } = collect();
  const { signal = new AbortController().signal } = options;
  const interrupted = () => signal;
  const environment = environmentFor(url);
  const code = await runOps(["export", "orders", ...args], { output, environment, interrupted });
  const { out, err } = text();
  return { code, out, err: withoutProgress(err) };
}

/** On a slow machine lines tell how far it is, and whether they do is no test's business. */
function withoutProgress(err: string): string {
  return err.replaceAll(/^Exporting \d+\/\d+\n/gm, "");
}

/** The same by a shell, as a process of its own: `$OPS` is the command. */
async function shell(url: string, command: string) {
  const ran = await runShell(command, { cwd: folder, environment: environmentFor(url) });
  return { ...ran, err: withoutProgress(ran.err) };
}

type Row = Record<string, unknown>;

/** RFC 4180 and nothing else: every record ends in CRLF, has as many fields as the first, and quotes where it must. */
function parseCsv(content: string): Row[] {
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y;
  const records: string[][] = [[]];
  while (field.lastIndex < content.length) {
    const at = field.lastIndex;
    const found = field.exec(content);
    if (found === null) throw new Error(`not CSV at ${at}: ${content.slice(at, at + 80)}`);
    records.at(-1)?.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? "");
    if (found[3] === "\r\n" && field.lastIndex < content.length) records.push([]);
  }
  const [names = [], ...rows] = records;
  return rows.map((row) => {
    expect(row).toHaveLength(names.length);
    return Object.fromEntries(names.map((name, index) => [name, row[index]]));
  });
}

/** What the CSV has to hold where another format holds this. */
function asText(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = value instanceof Date ? value.toISOString() : String(value);
  return /^[=+\-@]/.test(text) ? `'${text}` : text;
}

async function readAll(url: string, args: readonly string[] = []) {
  const read = async (format: string) => {
    const file = join(folder, `orders.${format}`);
    const ran = await exportOrders(url, ["--format", format, "--output", file, ...args]);
    expect(ran, ran.err).toMatchObject({ code: 0, out: "" });
    return file;
  };
  const csv = parseCsv(await readFile(await read("csv"), "utf8"));
  const lines = (await readFile(await read("json"), "utf8")).split("\n");
  expect(lines.pop()).toBe("");
  const json = lines.map((line) => JSON.parse(line) as Row);
  const file = await asyncBufferFromFile(await read("parquet"));
  const parquet = (await parquetReadObjects({ file })) as Row[];
  expect(await readdir(folder)).toHaveLength(3);
  return { csv, json, parquet, file };
}

describe("ops export orders, of orders of all kinds", () => {
  let shop: Shop;
  let orders: Order[];

  beforeAll(async () => {
    shop = await openShop();
    const { connection } = shop.client;
    for (const [sku, cents] of [
      ["mug", 1_200n],
      ["desk", 24_900n],
    ] as const)
      await shop.price(sku, cents);
    for (const sku of ["mug", "desk"]) {
      await until(
        "the catalogue",
        async () => (await readLast(connection, "ORDER", key(catalogueItem, sku))).seq > 0,
      );
    }
    orders = [];
    const { shipping_address: address, ...trial } = body;
    const bodies = [
      body,
      {
        ...body,
        customer: { ...body.customer, id: "-2" },
        lines: [
          { sku: "mug", quantity: 3 },
          { sku: "desk", quantity: 1 },
        ],
      },
      { ...trial, customer: { ...body.customer, plan: "trial" } },
      {
        ...body,
        shipping_priority: "express",
        shipping_address: { ...address, name: '=HYPERLINK("http://x", "y")', line2: "a, b" },
      },
      { ...body, shipping_address: { ...address, city: "Zürich ☃", country: "CH" } },
    ];
    for (const one of bodies) {
      const { order_id: orderId } = await readJson(await shop.post(one));
      const { value } = await readLast(connection, "ORDER", key(orderCreated, orderId));
      if (value?.order === undefined) throw new Error("not placed");
      orders.push(value.order);
    }
    // The first two are shipped and refunded, the third is activated, the fourth waits, the fifth nobody has seen.
    const [shipped, cancelled, activated, waiting] = orders as [Order, Order, Order, Order];
    const courses: [Order, string[], string][] = [
      [shipped, ["reserving", "charging", "fulfilling", "completed"], ""],
      [
        cancelled,
        ["reserving", "charging", "fulfilling", "refunding", "releasing", "cancelled"],
        "fulfillment_failed",
      ],
      [activated, ["reserving", "completed"], ""],
      [waiting, ["reserving", "screening", "in_review"], ""],
    ];
    for (const [order, states, reason] of courses)
      for (const state of states)
        await shop.advance(order, state, { reason: state === "cancelled" ? reason : "" });
    const paid = (order: Order, status: string, refundedCents = 0n) => {
      const { orderId, totalCents: capturedCents, currency } = order;
      return message(payment, orderId, { orderId, status, capturedCents, refundedCents, currency });
    };
    await store(connection, [paid(shipped, "captured"), paid(cancelled, "refunded", cancelled.totalCents)]);
    const { orderId } = shipped;
    await store(connection, [
      message(orderShipped, orderId, { orderId, carrier: "Post", trackingNumber: "T1" }),
    ]);
  });
  afterAll(() => shop[Symbol.asyncDispose]());

  it("says the same in every format, and what GET /orders/{id} says", async () => {
    const { csv, json, parquet } = await readAll(shop.server.url);
    expect(json.map((row) => row.order_id)).toEqual(orders.map(({ orderId }) => orderId));
    expect(csv).toEqual(
      json.map(({ lines: _, ...row }) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name, asText(value)])),
      ),
    );
    expect(
      JSON.parse(JSON.stringify(parquet, (_, value) => (typeof value === "bigint" ? Number(value) : value))),
    ).toEqual(json);
    for (const row of json) {
      const answer = await (await shop.app.request(`/orders/${row.order_id}`)).json();
      const {
        history,
        reason = null,
        ...summary
      } = answer as { reason?: string; history: { state: string; at: string }[] };
      expect(row).toMatchObject({ ...summary, reason });
      expect(row.placed_at).toBe(history[0]?.at);
      const entered = history.slice(1).map(({ state, at }) => [`${state}_at`, at]);
      const ended = ["completed", "cancelled"].includes(`${row.state}`) ? history.at(-1)?.at : null;
      const times = Object.entries(row).filter(([name]) => name.endsWith("_at") && name !== "placed_at");
      expect(Object.fromEntries(times.filter(([name, at]) => at !== null && name !== "ended_at"))).toEqual(
        Object.fromEntries(entered),
      );
      expect(row.ended_at).toBe(ended);
    }
    expect(json[0]).toMatchObject({
      payment_status: "captured",
      captured_cents: 1_200,
      refunded_cents: 0,
      carrier: "Post",
      tracking_number: "T1",
      trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
    expect(json[1]).toMatchObject({
      state: "cancelled",
      reason: "fulfillment_failed",
      captured_cents: 28_500,
      refunded_cents: 28_500,
      line_count: 2,
      unit_count: 4,
    });
    expect(json[2]).toMatchObject({
      plan: "trial",
      country: null,
      payment_status: null,
      captured_cents: 0,
      carrier: null,
    });
    expect(json[4]).toMatchObject({ state: "created", country: "CH", reserving_at: null, ended_at: null });
  });

  it("has no personal data unless it is asked for, and never a payment token", async () => {
    const without = await exportOrders(shop.server.url, ["--format", "json"]);
    for (const secret of ["ada@example.com", "Ada", "High Street", "tok_visa", "Zürich"])
      expect(without.out).not.toContain(secret);
    const { csv, json, parquet } = await readAll(shop.server.url, ["--with-personal-data"]);
    expect(JSON.stringify(json)).not.toContain("tok_visa");
    const { customer_email, shipping_city } = json[4] as Row;
    expect({ customer_email, shipping_city }).toEqual({
      customer_email: "ada@example.com",
      shipping_city: "Zürich ☃",
    });
    expect(parquet[3]).toMatchObject({
      shipping_name: '=HYPERLINK("http://x", "y")',
      shipping_line2: "a, b",
    });
    // What a spreadsheet would run.
    expect(csv[3]).toMatchObject({ shipping_name: `'=HYPERLINK("http://x", "y")`, shipping_line2: "a, b" });
    expect(csv[1]).toMatchObject({ customer_id: "'-2" });
    expect(Object.keys(csv[0] ?? {})).toEqual([...columns, ...personalColumns].map(({ name }) => name));
  });

  it("gives Parquet types that it means", async () => {
    const { file } = await readAll(shop.server.url);
    const { children } = parquetSchema(await parquetMetadataAsync(file));
    const typeOf = (name: string) => children.find(({ element }) => element.name === name)?.element;
    expect(typeOf("total_cents")).toMatchObject({ type: "INT64", repetition_type: "REQUIRED" });
    expect(typeOf("placed_at")).toMatchObject({
      type: "INT64",
      converted_type: "TIMESTAMP_MILLIS",
      repetition_type: "OPTIONAL",
    });
    expect(typeOf("reason")).toMatchObject({
      type: "BYTE_ARRAY",
      converted_type: "UTF8",
      repetition_type: "OPTIONAL",
    });
    expect(typeOf("lines")).toMatchObject({ converted_type: "LIST" });
  });

  it("takes the orders in some states, and of a range of times with its beginning and without its end", async () => {
    const ids = async (...args: string[]) => {
      const { code, out } = await exportOrders(shop.server.url, ["--format", "json", ...args]);
      expect(code).toBe(0);
      return out
        .split("\n")
        .slice(0, -1)
        .map((line) => orders.findIndex(({ orderId }) => orderId === JSON.parse(line).order_id));
    };
    expect(await ids("--state", "completed")).toEqual([0, 2]);
    expect(await ids("--state", "in_review", "created")).toEqual([3, 4]);
    const all = await exportOrders(shop.server.url, ["--format", "json"]);
    const times = all.out
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line).placed_at as string);
    const between = times.flatMap((at, n) => (at >= `${times[1]}` && at < `${times[3]}` ? [n] : []));
    expect(await ids("--from", `${times[1]}`, "--to", `${times[3]}`)).toEqual(between);
    expect(await ids("--from", "2100-01-01")).toEqual([]);
  });

  it("writes files without rows that can be read", async () => {
    const { csv, json, parquet } = await readAll(shop.server.url, ["--from", "2100-01-01"]);
    expect({ csv, json, parquet }).toEqual({ csv: [], json: [], parquet: [] });
    expect(await readFile(join(folder, "orders.csv"), "utf8")).toMatch(/^order_id,placed_at,[^\n]*\r\n$/);
  });

  it.each([
    [[], "--format"],
    [["--format", "xml"], "xml"],
    [["--format", "csv", "--state", "lost"], "lost"],
    [["--format", "csv", "--from", "soon"], "no time"],
    [["--format", "csv", "--from", "2026-01-02", "--to", "2026-01-02"], "--from is not before --to"],
    [["--format", "csv", "--fast"], "--fast"],
  ])("is called wrongly with %j", async (args, why) => {
    expect(await exportOrders(shop.server.url, args)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining(why),
    });
  });

  it("refuses to send Parquet to a terminal", async () => {
    const { output, text } = collect();
    Object.assign(output.out, { isTTY: true });
    const environment = environmentFor(shop.server.url);
    expect(await runOps(["export", "orders", "--format", "parquet"], { output, environment })).toBe(2);
    expect(text()).toMatchObject({ out: "", err: expect.stringContaining("--output") });
  });

  it("replaces a file, also through a link, and refuses what is none", async () => {
    const file = join(folder, "orders.csv");
    await writeFile(file, "before");
    await symlink(file, join(folder, "link"));
    expect(
      (await exportOrders(shop.server.url, ["--format", "csv", "--output", join(folder, "link")])).code,
    ).toBe(0);
    expect(parseCsv(await readFile(file, "utf8"))).toHaveLength(orders.length);
    for (const name of [folder, "/dev/null", join(folder, "no", "such")]) {
      const { code, err } = await exportOrders(shop.server.url, ["--format", "csv", "--output", name]);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(`Cannot write ${name}: `) });
    }
    expect((await stat("/dev/null")).isCharacterDevice()).toBe(true);
    expect((await readdir(folder)).toSorted()).toEqual(["link", "orders.csv"]);
  });

  it("runs every command of the operations guide, word for word", async () => {
    const page = await readFile(join(import.meta.dirname, "..", "docs", "operations.md"), "utf8");
    const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
    const commands = blocks
      .join("")
      .split("\n")
      .filter((line) => line.includes("-- export "));
    expect(commands.length).toBeGreaterThan(2);
    for (const command of commands) {
      const ran = await shell(shop.server.url, command.replace("npm run ops --", "$OPS"));
      expect(ran, command).toMatchObject({ code: 0 });
    }
  });
});

describe("ops export orders, of many orders", () => {
  const COUNT = 4_500;
  let shop: Shop;

  beforeAll(async () => {
    shop = await openShop();
    await writeOrders(shop.client.connection, COUNT);
  });
  afterAll(() => shop[Symbol.asyncDispose]());

  it("has each order once, in the order in which they were placed", async () => {
    const { out, err, code } = await exportOrders(shop.server.url, ["--format", "json"]);
    expect({ code, err }).toEqual({ code: 0, err: `${COUNT} orders in standard output\n` });
    const placed = out
      .split("\n")
      .slice(0, -1)
      .map((line) => Date.parse(JSON.parse(line).placed_at));
    expect(placed).toEqual(Array.from({ length: COUNT }, (_, n) => FIRST_PLACED_MS + n * 1_000));
  });

  it("reads no more than two pages ahead of who takes it, and goes on after a restart of the server", async () => {
    const proxy = await startProxy(shop.server.url);
    let asked = 0;
    proxy.judge(({ from, text }) => {
      if (from === "client" && text.includes("DIRECT.GET.ORDER")) asked += 1;
      return "pass";
    });
    const { promise: waiting, resolve: goOn } = Promise.withResolvers<void>();
    let taken = "";
    const { output, text } = collect();
    const out = new Writable({
      highWaterMark: 1,
      write(chunk, _, done) {
        taken += chunk;
        void waiting.then(() => done());
      },
    });
    const running = runOps(["export", "orders", "--format", "json"], {
      output: { ...output, out },
      environment: environmentFor(proxy.url),
      interrupted: () => new AbortController().signal,
    });
    await until("the second page to be read", () => asked === 2 && taken.length > 0);
    await shop.server.restart();
    expect(asked).toBe(2);
    goOn();
    expect(await running, text().err).toBe(0);
    expect(taken.split("\n")).toHaveLength(COUNT + 1);
    await proxy[Symbol.asyncDispose]();
  });

  it("asks again when there is no answer, and leaves nothing when it is interrupted", async () => {
    await using proxy = await startProxy(shop.server.url);
    let lost = 0;
    proxy.judge(({ from, text }) => {
      if (from !== "client" || !text.includes("DIRECT.GET.ORDER") || !text.includes('"seq":2001'))
        return "pass";
      lost += 1;
      return "drop";
    });
    const interrupt = new AbortController();
    const file = join(folder, "orders.parquet");
    await writeFile(file, "before");
    const args = ["--format", "parquet", "--output", file];
    const running = exportOrders(proxy.url, args, interrupt);
    await until("the question to be asked again", () => lost > 1, { timeoutMs: 30_000 });
    expect(await readdir(folder)).toHaveLength(2);
    interrupt.abort();
    const { code, err } = await running;
    expect({ code, err }).toEqual({
      code: 1,
      err: `The servers do not answer; trying again\nInterrupted: ${file} is not complete\n`,
    });
    expect(await readdir(folder)).toEqual(["orders.parquet"]);
    expect(await readFile(file, "utf8")).toBe("before");
  });

  it("keeps nothing of the pages that it has written", async () => {
    const live: number[] = [];
    const { output, text } = collect();
    const out = new Writable({
      write(_chunk, _, done) {
        live.push(liveBytes());
        done();
      },
    });
    const environment = environmentFor(shop.server.url);
    const interrupted = () => new AbortController().signal;
    const args = ["export", "orders", "--format", "json"];
    expect(await runOps(args, { output: { ...output, out }, environment, interrupted }), text().err).toBe(0);
    expect(live).toHaveLength(5);
    // Of the second page on, which has the third one beside it. A page of what is read and written is some four megabytes.
    const [, second = 0, ...later] = live;
    expect(Math.max(...later) - second).toBeLessThan(3e6);
  });

  it("writes to standard output for --output -, and makes no file of that name", async () => {
    const { code, out } = await exportOrders(shop.server.url, ["--format", "csv", "--output", "-"]);
    expect(code).toBe(0);
    expect(out.split("\r\n")).toHaveLength(COUNT + 2);
    expect(await readdir(folder)).not.toContain("-");
  });

  it("ends quietly when nobody reads on", async () => {
    const ran = await shell(shop.server.url, "$OPS export orders --format csv | head -n 2; echo $PIPESTATUS");
    expect(ran.err).toBe("");
    expect(ran.out.split("\n").slice(2)).toEqual(["0", ""]);
  });

  it("says so when there is no room, and leaves nothing", async () => {
    const full = await shell(shop.server.url, "$OPS export orders --format csv > /dev/full");
    expect(full).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^Cannot write to standard output: ENOSPC/),
    });
    // 64 kB.
    const limited = await shell(
      shop.server.url,
      "trap '' XFSZ; ulimit -f 64; $OPS export orders --format csv --output f.csv",
    );
    expect(limited).toMatchObject({ code: 1, err: expect.stringMatching(/^Cannot write f\.csv: EFBIG/) });
    expect(await readdir(folder)).toEqual([]);
  });

  it("leaves out what it cannot read, names it, and ends with 1", async () => {
    const { connection } = shop.client;
    const bad = message(orderCreated, "elsewhere", { order: { orderId: "another" } });
    await store(connection, [bad]);
    const { code, err } = await exportOrders(shop.server.url, ["--format", "csv"]);
    expect(code).toBe(1);
    expect(err).toContain(`${COUNT} orders in standard output`);
    expect(err).toMatch(/Left out: message \d+ of ORDER is about another order than its subject/);
  });
});
