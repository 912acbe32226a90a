import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalogueItem, key, orderCreated, readLast } from "../nats/mod.ts";
import { body, openShop, readJson, type Shop } from "../services/order/test_shop.ts";
import { parkNext, until } from "../test/support/mod.ts";
import { runOps } from "./program.ts";
import { collect } from "./testing.ts";

let shop: Shop;
/** Three orders: completed, stuck, and not seen yet by the coordinator. */
let ids: string[];
let letter: string;
beforeAll(async () => {
  shop = await openShop();
  await shop.price("mug", 1_200n);
  await until("the catalogue", async () => {
    return (await readLast(shop.client.connection, "ORDER", key(catalogueItem, "mug"))).seq > 0;
  });
  ids = [];
  for (let n = 0; n < 3; n++) ids.push((await readJson(await shop.post(body))).order_id);
  const { value } = await readLast(shop.client.connection, "ORDER", key(orderCreated, ids[0] ?? ""));
  if (value?.order === undefined) throw new Error("no order");
  await shop.advance(value.order, "completed");
  const coordinator = await shop.client.js.consumers.get("ORDER", "coordinator");
  await (await coordinator.next())?.ackAck();
  letter = await parkNext(shop.client, "ORDER", "coordinator");
  // The service's answers are a second old at most.
  await until("the letter to be seen", async () => {
    return (await (await shop.app.request("/orders?stuck=true")).text()).includes(letter);
  });
});
afterAll(() => shop[Symbol.asyncDispose]());

async function orders(...args: string[]) {
  const { output, text } = collect();
  const environment = { NATS_URL: shop.server.url, DATA_DIR: "/nowhere" };
  const code = await runOps(["orders", ...args], { output, environment });
  return { code, ...text() };
}

describe("ops orders", () => {
  it("lists all orders with where each stands and what holds it up", async () => {
    const { code, out, err } = await orders();
    expect(code).toBe(0);
    const [head, ...lines] = out.trimEnd().split("\n");
    expect(head).toMatch(/^ORDER +STATE +REASON +CENTS +PLACED +STUCK$/);
    expect(lines.map((line) => line.split(/ +/).slice(0, 4))).toEqual([
      [ids[0], "completed", "1200", "EUR"],
      [ids[1], "created", "1200", "EUR"],
      [ids[2], "created", "1200", "EUR"],
    ]);
    expect(lines[1]).toMatch(new RegExp(` ${letter}$`));
    expect(err).toBe("3 orders\n");
  });

  it("filters as GET /orders does, and prints the same JSON", async () => {
    for (const [flags, query] of [
      [["--state", "created"], "state=created"],
      [["--stuck"], "stuck=true"],
      [["--limit", "2"], "limit=2"],
    ] as const) {
      const served = await shop.app.request(`/orders?${query}`);
      const told = JSON.parse((await orders(...flags, "--json")).out);
      expect(told.orders).toEqual(((await served.json()) as typeof told).orders);
    }
    const first = await orders("--limit", "2");
    const [, cursor = ""] = /^More: --cursor (\d+)$/m.exec(first.err) ?? [];
    expect((await orders("--cursor", cursor)).out).toContain(ids[2]);
  });

  it("prints ids for a shell, and ends with 1 if there is none", async () => {
    expect(await orders("--stuck", "--ids")).toEqual({ code: 0, out: `${ids[1]}\n`, err: "" });
    expect(await orders("--state", "refunding", "--ids")).toEqual({ code: 1, out: "", err: "" });
  });

  it("lists those that are live and have lost their timer", async () => {
    const third = ids[2] ?? "";
    expect(await orders("--untimed")).toEqual({ code: 0, out: "", err: "0 orders\n" });
    const { value } = await readLast(shop.client.connection, "ORDER", key(orderCreated, third));
    if (value?.order === undefined) throw new Error("no order");
    await shop.advance(value.order, "reserving");
    expect((await orders("--untimed")).out).toBe("");
    await shop.client.jsm.streams.purge("CHECKOUT", { filter: `checkout.timer.${third}` });
    const { orders: found } = JSON.parse((await orders("--untimed", "--json")).out);
    expect(found).toMatchObject([{ order_id: third, state: "reserving" }]);
    expect(await orders("--untimed", "--ids")).toEqual({ code: 0, out: `${third}\n`, err: "" });
  });

  it("ends with 2 when it is called wrongly", async () => {
    for (const args of [
      ["--state", "lost"],
      ["--limit", "0"],
      ["--limit", "10001"],
      ["--ids", "--json"],
      ["--untimed", "--stuck"],
    ])
      expect((await orders(...args)).code).toBe(2);
  });
});
