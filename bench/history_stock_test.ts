import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ItemSchema } from "../gen/shop/inventory/v1/item_pb.ts";
import { decode, item } from "../nats/mod.ts";
import { Stock } from "./history_stock.ts";

const stock = () =>
  new Stock([{ value: create(ItemSchema, { sku: "mug", available: 3n, reserved: 1n }), headers: "" }]);

describe("Stock", () => {
  it("stores an item once, with all that was taken of it", () => {
    const [entry, ...others] = stock().take([
      { sku: "mug", quantity: 1 },
      { sku: "mug", quantity: 2 },
    ]);
    expect(others).toEqual([]);
    expect(entry?.subject).toBe("inventory.item.mug");
    const { available, reserved, sold } = decode(item, entry?.data ?? new Uint8Array());
    expect([available, reserved, sold]).toEqual([0n, 1n, 3n]);
  });

  it("refuses to give what is not there", () => {
    expect(() => stock().take([{ sku: "mug", quantity: 4 }])).toThrow(RangeError);
    expect(() => stock().take([{ sku: "cup", quantity: 1 }])).toThrow(RangeError);
  });
});
