import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { CheckoutStateSchema } from "../gen/shop/checkout/v1/checkout_state_pb.ts";
import { OrderBody } from "../services/order/request.ts";
import { orderBody, stateOf } from "./shop_orders.ts";
import { skus } from "./target.ts";

test("stateOf() finds the state of a snapshot, wherever it is in it", () => {
  const snapshot = create(CheckoutStateSchema, {
    order: { orderId: "ord_1", lines: [{ sku: "mug" }] },
    state: "completed",
    history: [{ state: "completed", cause: "fulfillment.shipped" }],
  });
  expect(stateOf(toBinary(CheckoutStateSchema, snapshot))).toBe("completed");
  expect(stateOf(toBinary(CheckoutStateSchema, create(CheckoutStateSchema, {})))).toBe("");
});

test("orderBody() is one that the order service takes, for one sku and for all", () => {
  for (const some of [skus.slice(0, 1), skus]) {
    const body = OrderBody.parse(JSON.parse(orderBody(some).toString()));
    expect(body.lines.map(({ sku }) => sku)).toEqual(some);
  }
});
