import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { FulfillOrderSchema } from "../../gen/shop/checkout/v1/fulfill_order_pb.ts";
import { fulfillmentFailed, message, orderActivated, orderShipped } from "../../nats/contracts/mod.ts";
import { firstDelivery, MemoryView } from "../../test/support/mod.ts";
import { handlers } from "./decide.ts";
import { unpackable } from "./sandbox.ts";

const [fulfill] = handlers({ unpackable });
const at = timestampFromDate(firstDelivery.now);

interface OrderInit {
  customer?: { plan: string };
  lines?: { sku: string; quantity: number }[];
  shippingPriority?: string;
}

function command(init: OrderInit = {}) {
  return create(FulfillOrderSchema, {
    order: {
      orderId: "o1",
      customer: { plan: "standard" },
      shippingPriority: "standard",
      lines: [{ sku: "mug", quantity: 1 }],
      ...init,
    },
  });
}

describe("fulfill", () => {
  it("packs and ships an order", () => {
    const view = new MemoryView();
    expect(view.handle(fulfill, command()).subjects).toEqual(["fulfillment.shipped.o1"]);
    const parcel = { carrier: "Parcel Mail", trackingNumber: "PM-o1" };
    expect(view.get(orderShipped, "o1")).toMatchObject({
      orderId: "o1",
      ...parcel,
      packedAt: at,
      shippedAt: at,
    });
  });

  it.each([
    ["express", "Night Flight"],
    ["standard", "Parcel Mail"],
    ["", "Parcel Mail"],
    ["constructor", "Parcel Mail"],
  ])("sends priority %j with %s", (shippingPriority, carrier) => {
    const view = new MemoryView();
    view.handle(fulfill, command({ shippingPriority }));
    expect(view.get(orderShipped, "o1")?.carrier).toBe(carrier);
  });

  it.each(["mug", "broken"])("activates a trial plan with %s, and packs nothing", (sku) => {
    const view = new MemoryView();
    const trial = command({ customer: { plan: "trial" }, lines: [{ sku, quantity: 1 }] });
    expect(view.handle(fulfill, trial).subjects).toEqual(["fulfillment.activated.o1"]);
    expect(view.get(orderActivated, "o1")).toMatchObject({ orderId: "o1", activatedAt: at });
  });

  it("ships nothing of an order with a line that cannot be packed, and says which", () => {
    const view = new MemoryView();
    const lines = [
      { sku: "mug", quantity: 1 },
      { sku: "broken", quantity: 1 },
    ];
    expect(view.handle(fulfill, command({ lines })).subjects).toEqual(["fulfillment.failed.o1"]);
    const failure = 'Cannot pack "broken": it fell off the shelf';
    expect(view.get(fulfillmentFailed, "o1")).toMatchObject({ orderId: "o1", failure, failedAt: at });
  });

  it("packs a sku named broken where there is no sandbox", () => {
    const [real] = handlers({ unpackable: {} });
    const view = new MemoryView();
    const lines = [{ sku: "broken", quantity: 1 }];
    expect(view.handle(real, command({ lines })).subjects).toEqual(["fulfillment.shipped.o1"]);
  });

  it("does nothing for an order that was handled, also where it would end otherwise today", () => {
    const [real] = handlers({ unpackable: {} });
    const commands = [command(), command({ lines: [{ sku: "broken", quantity: 1 }] })];
    for (const stored of [message(orderShipped, "o1", {}), message(fulfillmentFailed, "o1", {})]) {
      for (const handler of [fulfill, real]) {
        for (const again of commands) {
          expect(new MemoryView().store([stored]).handle(handler, again).subjects).toEqual([]);
        }
      }
    }
    const trial = command({ customer: { plan: "trial" } });
    const activated = new MemoryView().store([message(orderActivated, "o1", {})]);
    expect(activated.handle(fulfill, trial).subjects).toEqual([]);
  });

  it.each<[string, OrderInit]>([
    ["shipped", {}],
    ["activated", { customer: { plan: "trial" } }],
    ["failed", { lines: [{ sku: "broken", quantity: 1 }] }],
  ])("names what it will store of an order that is %s, and what may stand in its place", (_, init) => {
    const view = new MemoryView();
    const again = command(init);
    const subjects = (keys: readonly { subject: string }[] = []) => keys.map(({ subject }) => subject);
    expect(subjects(fulfill.begins?.(again, "o1"))).toEqual(view.handle(fulfill, again).subjects);
    expect(subjects(fulfill.keys(again, "o1"))).toEqual(expect.arrayContaining(view.subjects));
  });

  it("gives up on a command without an order", () => {
    const empty = create(FulfillOrderSchema);
    expect(new MemoryView().handle(fulfill, empty).outcome.kind).toBe("dead");
    expect(() => fulfill.keys(empty, "o1")).not.toThrow();
  });
});
