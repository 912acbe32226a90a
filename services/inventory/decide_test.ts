import { create, type Message } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { CheckoutCompletedSchema } from "../../gen/shop/checkout/v1/checkout_completed_pb.ts";
import { ReleaseStockSchema } from "../../gen/shop/checkout/v1/release_stock_pb.ts";
import { ReserveStockSchema } from "../../gen/shop/checkout/v1/reserve_stock_pb.ts";
import { item, reservation } from "../../nats/contracts/mod.ts";
import type { AnyHandler } from "../../nats/mod.ts";
import { MemoryView } from "../../test/support/mod.ts";
import { handlers, seed, setStock } from "./decide.ts";

const [reserve, release, sell] = handlers;

function handle(view: MemoryView, handler: AnyHandler, command: Message): string[] {
  return view.handle(handler, command).subjects;
}

function shop(stock: Record<string, number>): MemoryView {
  const view = new MemoryView();
  for (const [sku, available] of Object.entries(stock)) {
    view.store(setStock(view, sku, { available, unitPriceCents: 100 }).messages);
  }
  view.log.length = 0;
  return view;
}

function reserveCommand(orderId: string, lines: Record<string, number>) {
  return create(ReserveStockSchema, {
    orderId,
    lines: Object.entries(lines).map(([sku, quantity]) => ({ sku, quantity })),
  });
}

function releaseCommand(orderId: string) {
  return create(ReleaseStockSchema, { orderId });
}

function completed(orderId: string, lines: Record<string, number>) {
  return create(CheckoutCompletedSchema, { order: { orderId, lines: reserveCommand(orderId, lines).lines } });
}

function stockOf(view: MemoryView, sku: string): [available: bigint, reserved: bigint, sold: bigint] {
  const found = view.get(item, sku);
  if (found === undefined) throw new Error(`no ${sku}`);
  return [found.available, found.reserved, found.sold];
}

describe("reserve", () => {
  it("takes every line from what is available", () => {
    const view = shop({ mug: 5, desk: 2 });
    const subjects = handle(view, reserve, reserveCommand("o1", { mug: 2, desk: 2 }));
    expect(subjects).toEqual([
      "inventory.item.mug",
      "inventory.item.desk",
      "inventory.reservation.o1",
      "inventory.stock_reserved.o1",
    ]);
    expect(stockOf(view, "mug")).toEqual([3n, 2n, 0n]);
    expect(stockOf(view, "desk")).toEqual([0n, 2n, 0n]);
  });

  it("takes nothing when one line is short, and names it", () => {
    const view = shop({ mug: 5, desk: 1 });
    expect(handle(view, reserve, reserveCommand("o1", { mug: 1, desk: 2 }))).toEqual([
      "inventory.reservation.o1",
      "inventory.stock_rejected.o1",
    ]);
    expect(stockOf(view, "mug")).toEqual([5n, 0n, 0n]);
    expect(view.log.at(-1)?.value).toMatchObject({
      shortages: [{ sku: "desk", requested: 2, available: 1n }],
    });
  });

  it("refuses a command that names a sku twice", () => {
    const command = create(ReserveStockSchema, {
      orderId: "o1",
      lines: [
        { sku: "mug", quantity: 1 },
        { sku: "mug", quantity: 1 },
      ],
    });
    expect(shop({ mug: 5 }).handle(reserve, command).outcome).toMatchObject({ kind: "dead" });
  });

  it("rejects a sku that does not exist", () => {
    expect(handle(shop({}), reserve, reserveCommand("o1", { ghost: 1 }))).toContain(
      "inventory.stock_rejected.o1",
    );
  });

  it("sells the last one once", () => {
    const view = shop({ "last-one": 1 });
    for (let n = 1; n <= 20; n++) handle(view, reserve, reserveCommand(`o${n}`, { "last-one": 1 }));
    expect(view.subjects.filter((subject) => subject.includes("stock_reserved"))).toEqual([
      "inventory.stock_reserved.o1",
    ]);
    expect(view.subjects.filter((subject) => subject.includes("stock_rejected"))).toHaveLength(19);
    expect(stockOf(view, "last-one")).toEqual([0n, 1n, 0n]);
  });

  it("does nothing for a command that was handled before", () => {
    const view = shop({ mug: 5 });
    handle(view, reserve, reserveCommand("o1", { mug: 2 }));
    expect(handle(view, reserve, reserveCommand("o1", { mug: 2 }))).toEqual([]);
    expect(stockOf(view, "mug")).toEqual([3n, 2n, 0n]);
  });

  it("reserves nothing for an order that was released first", () => {
    const view = shop({ mug: 5 });
    handle(view, release, releaseCommand("o1"));
    expect(handle(view, reserve, reserveCommand("o1", { mug: 2 }))).toEqual([]);
    expect(stockOf(view, "mug")).toEqual([5n, 0n, 0n]);
  });
});

describe("release", () => {
  it("gives back what is held, once", () => {
    const view = shop({ mug: 5 });
    handle(view, reserve, reserveCommand("o1", { mug: 2 }));
    expect(handle(view, release, releaseCommand("o1"))).toEqual([
      "inventory.item.mug",
      "inventory.reservation.o1",
      "inventory.stock_released.o1",
    ]);
    expect(handle(view, release, releaseCommand("o1"))).toEqual([]);
    expect(stockOf(view, "mug")).toEqual([5n, 0n, 0n]);
  });

  it("gives nothing back for an order that was rejected", () => {
    const view = shop({ mug: 1 });
    handle(view, reserve, reserveCommand("o1", { mug: 2 }));
    handle(view, release, releaseCommand("o1"));
    expect(stockOf(view, "mug")).toEqual([1n, 0n, 0n]);
    expect(view.get(reservation, "o1")?.status).toBe("released");
  });
});

describe("sell", () => {
  it("counts what a completed order holds as sold, once", () => {
    const view = shop({ mug: 5, desk: 2 });
    handle(view, reserve, reserveCommand("o1", { mug: 2, desk: 1 }));
    handle(view, reserve, reserveCommand("o2", { mug: 1 }));
    expect(handle(view, sell, completed("o1", { mug: 2, desk: 1 }))).toEqual([
      "inventory.item.mug",
      "inventory.item.desk",
      "inventory.reservation.o1",
    ]);
    expect(view.get(reservation, "o1")).toMatchObject({
      status: "sold",
      lines: [
        { sku: "mug", quantity: 2 },
        { sku: "desk", quantity: 1 },
      ],
    });
    expect(handle(view, sell, completed("o1", { mug: 2, desk: 1 }))).toEqual([]);
    expect(handle(view, reserve, reserveCommand("o1", { mug: 2, desk: 1 }))).toEqual([]);
    expect(stockOf(view, "mug")).toEqual([2n, 1n, 2n]);
    expect(stockOf(view, "desk")).toEqual([1n, 0n, 1n]);
  });

  it.each(["released", "rejected", "never reserved"])("sells nothing of an order that was %s", (what) => {
    const view = shop({ mug: 5 });
    if (what !== "never reserved")
      handle(view, reserve, reserveCommand("o1", { mug: what === "rejected" ? 6 : 2 }));
    if (what === "released") handle(view, release, releaseCommand("o1"));
    expect(handle(view, sell, completed("o1", { mug: 2 }))).toEqual([]);
    expect(stockOf(view, "mug")).toEqual([5n, 0n, 0n]);
  });

  it("is undone by a release, from what is sold", () => {
    const view = shop({ mug: 5 });
    handle(view, reserve, reserveCommand("o1", { mug: 2 }));
    handle(view, reserve, reserveCommand("o2", { mug: 1 }));
    handle(view, sell, completed("o1", { mug: 2 }));
    handle(view, release, create(ReleaseStockSchema, { orderId: "o1", lines: [{ sku: "mug" }] }));
    expect(stockOf(view, "mug")).toEqual([4n, 1n, 0n]);
    expect(handle(view, sell, completed("o1", { mug: 2 }))).toEqual([]);
  });
});

describe("setStock()", () => {
  it("keeps what is held and sold, and says nothing of a price that stays", () => {
    const view = shop({ mug: 5 });
    handle(view, reserve, reserveCommand("o1", { mug: 2 }));
    handle(view, reserve, reserveCommand("o2", { mug: 1 }));
    handle(view, sell, completed("o1", { mug: 2 }));
    const { messages } = setStock(view, "mug", { available: 10 });
    expect(messages.map((message) => message.subject)).toEqual(["inventory.item.mug"]);
    view.store(messages);
    expect(stockOf(view, "mug")).toEqual([10n, 1n, 2n]);
  });

  it("announces a new price", () => {
    const view = shop({ mug: 5 });
    const { messages } = setStock(view, "mug", { available: 5, unitPriceCents: 200 });
    expect(messages.map((message) => message.subject)).toEqual([
      "inventory.item.mug",
      "inventory.item_priced.mug",
    ]);
  });

  it("refuses a new item without a price", () => {
    expect(setStock(shop({}), "ghost", { available: 1 })).toEqual({ messages: [], result: "unpriced" });
  });
});

describe("seed()", () => {
  it("leaves an item alone that is on sale already", () => {
    expect(seed(shop({ mug: 5 }), "mug", { available: 9, unitPriceCents: 1 }).messages).toEqual([]);
  });
});
