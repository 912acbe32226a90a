import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { audit, exampleOrder, openShop, type TestShop, until } from "./support/mod.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await openShop({ CHARGING_DEADLINE_MS: "3000" });
});
afterAll(() => shop[Symbol.asyncDispose]());

describe("a deadline that passes while the coordinator is away", () => {
  it("does not overrule answers that were given in time", async () => {
    await shop.shop.stop("payment");
    const ids = await Promise.all(Array.from({ length: 10 }, () => shop.place()));
    await Promise.all(ids.map((id) => shop.reaches(id, "charging")));
    await shop.shop.stop("coordinator");
    await shop.shop.start("payment");
    const captured = Date.now();
    for (const id of ids) {
      await until(`the capture of ${id}`, async () => {
        const { body } = await shop.call<{ status: string }>("payment", `/payments/${id}`);
        return body?.status === "captured";
      });
    }
    await until("the deadlines to pass", () => Date.now() > captured + 3_500);
    await shop.shop.start("coordinator");
    const lines = exampleOrder.lines;
    const orders = await audit(
      shop,
      ids.map((id) => ({ id, lines })),
      { mug: 1_000_000 },
    );
    expect(orders.map(({ state, reason }) => reason ?? state)).toEqual(ids.map(() => "completed"));
  });

  it("takes effect when there was no answer", async () => {
    await shop.shop.stop("payment");
    const id = await shop.place();
    await shop.reaches(id, "charging");
    await shop.reaches(id, "refunding");
    await shop.shop.start("payment");
    expect(await shop.ends(id)).toMatchObject({ state: "cancelled", reason: "timed_out" });
  });
});
