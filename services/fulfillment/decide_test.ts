import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { FulfillOrderSchema } from "../../gen/shop/checkout/v1/fulfill_order_pb.ts";
import { message, shipment } from "../../nats/contracts/mod.ts";
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
    expect(view.handle(fulfill, command()).subjects).toEqual([
      "fulfillment.shipment.o1",
      "fulfillment.shipped.o1",
    ]);
    const parcel = { carrier: "Parcel Mail", trackingNumber: "PM-o1" };
    expect(view.get(shipment, "o1")).toMatchObject({
      kind: "shipment",
      status: "shipped",
      ...parcel,
      steps: [
        { name: "packed", at },
        { name: "shipped", at },
      ],
    });
    expect(view.log[1]?.value).toMatchObject({ orderId: "o1", ...parcel });
  });

  it.each([
    ["express", "Night Flight"],
    ["standard", "Parcel Mail"],
    ["", "Parcel Mail"],
    ["constructor", "Parcel Mail"],
  ])("sends priority %j with %s", (shippingPriority, carrier) => {
    const view = new MemoryView();
    view.handle(fulfill, command({ shippingPriority }));
    expect(view.get(shipment, "o1")?.carrier).toBe(carrier);
  });

  it.each(["mug", "broken"])("activates a trial plan with %s, and packs nothing", (sku) => {
    const view = new MemoryView();
    const trial = command({ customer: { plan: "trial" }, lines: [{ sku, quantity: 1 }] });
    expect(view.handle(fulfill, trial).subjects).toEqual([
      "fulfillment.shipment.o1",
      "fulfillment.activated.o1",
    ]);
    expect(view.get(shipment, "o1")).toMatchObject({
      kind: "activation",
      status: "activated",
      carrier: "",
      steps: [{ name: "activated", at }],
    });
  });

  it("ships nothing of an order with a line that cannot be packed, and says which", () => {
    const view = new MemoryView();
    const lines = [
      { sku: "mug", quantity: 1 },
      { sku: "broken", quantity: 1 },
    ];
    expect(view.handle(fulfill, command({ lines })).subjects).toEqual([
      "fulfillment.shipment.o1",
      "fulfillment.failed.o1",
    ]);
    const failure = 'Cannot pack "broken": it fell off the shelf';
    expect(view.get(shipment, "o1")).toMatchObject({
      kind: "shipment",
      status: "failed",
      failure,
      trackingNumber: "",
      steps: [{ name: "failed", at }],
    });
    expect(view.log[1]?.value).toMatchObject({ orderId: "o1", failure });
  });

  it("packs a sku named broken where there is no sandbox", () => {
    const [real] = handlers({ unpackable: {} });
    const view = new MemoryView();
    const lines = [{ sku: "broken", quantity: 1 }];
    expect(view.handle(real, command({ lines })).subjects).toContain("fulfillment.shipped.o1");
  });

  it.each(["shipped", "activated", "failed"])("does nothing for an order that is %s", (status) => {
    const commands = [
      command(),
      command({ customer: { plan: "trial" } }),
      command({ lines: [{ sku: "broken", quantity: 1 }] }),
    ];
    const view = new MemoryView().store([message(shipment, "o1", { orderId: "o1", status })]);
    for (const again of commands) expect(view.handle(fulfill, again).subjects).toEqual([]);
  });

  it("gives up on a command without an order", () => {
    expect(new MemoryView().handle(fulfill, create(FulfillOrderSchema)).outcome.kind).toBe("dead");
  });
});
