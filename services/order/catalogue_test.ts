import { describe, expect, it } from "vitest";
import { commit, encode, itemPriced, message, newHeaders } from "../../nats/mod.ts";
import { silent, until } from "../../test/support/mod.ts";
import { catalogueFilled } from "./catalogue.ts";
import { body, openShop, type Shop } from "./test_shop.ts";

/** Whether the copy is said to be filled, as `/readyz` has it. */
function follow({ client: { jsm }, ledger }: Shop, options: { sandbox: boolean; signal?: AbortSignal }) {
  const { signal = new AbortController().signal, sandbox } = options;
  const followed = { filled: undefined as boolean | undefined, ended: Promise.resolve() };
  followed.ended = catalogueFilled({ jsm, ledger, log: silent, sandbox, signal }).then((filled) => {
    followed.filled = filled;
  });
  return followed;
}

describe("catalogueFilled()", () => {
  it("waits for the first item where there is going to be one", async () => {
    await using shop = await openShop();
    await follow(shop, { sandbox: false }).ended;

    const followed = follow(shop, { sandbox: true });
    // Its consumer is drained, and that says nothing as long as nobody has announced anything.
    expect(followed.filled).toBeUndefined();
    await shop.price("mug", 1_200n);
    await followed.ended;
    expect(followed.filled).toBe(true);
    expect((await shop.post(body)).status).toBe(202);

    const aborted = new AbortController();
    aborted.abort();
    const late = follow(shop, { sandbox: true, signal: aborted.signal });
    await late.ended;
    expect(late.filled).toBe(false);
  });

  it("waits until all that was announced before is in the copy", async () => {
    await using shop = await openShop({ consuming: false });
    const priced = message(itemPriced, "mug", { sku: "mug", unitPriceCents: 1n, currency: "EUR" });
    const entry = { subject: priced.subject, data: encode(itemPriced, priced.value), headers: newHeaders() };
    await commit(shop.client.connection, "INVENTORY", [entry]);
    const consumer = await shop.client.js.consumers.get("INVENTORY", "order");
    await until("the price to be pending", async () => (await consumer.info()).num_pending === 1);
    const followed = follow(shop, { sandbox: false });
    const [msg] = await Array.fromAsync(await consumer.fetch({ max_messages: 1, expires: 5_000 }));
    expect(followed.filled).toBeUndefined();
    await msg?.ackAck();
    await until("the check to pass", () => followed.filled);
  });
});
