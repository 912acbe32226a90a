import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, type Kind, kinds, stock } from "./faults/orders.ts";
import {
  auditLedgers,
  flaggedAddress,
  openShop,
  openStreams,
  operator,
  readLedgers,
  sentMails,
  shopServices,
  type TestShop,
  until,
} from "./support/mod.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await openShop(environment);
});
afterAll(() => shop[Symbol.asyncDispose]());

/** Every branch of the checkout, and what a person decides. A decision may come too late: reviews expire soon here. */
const mix: readonly (Kind & { decision?: "approve" | "reject" })[] = [
  ...kinds,
  {
    name: "approved",
    changes: { shipping_address: flaggedAddress },
    ends: ["completed", "review_expired"],
    decision: "approve",
  },
  {
    name: "rejected",
    changes: { shipping_address: flaggedAddress },
    ends: ["review_rejected", "review_expired"],
    decision: "reject",
  },
];

const accepted: { id: string; ends: readonly string[] }[] = [];

/** Asks until there is an answer, as a client does whose request may be lost with the process that took it. */
function insist(service: string, path: string, body: unknown): Promise<number> {
  return until(
    `an answer to ${path}`,
    async () => {
      const sent = { method: "POST", headers: operator, body };
      const { status } = await shop.call(service, path, sent).catch(() => ({ status: 0 }));
      return status === 0 || status >= 500 ? undefined : status;
    },
    { timeoutMs: 45_000 },
  );
}

async function place({ changes, ends, cancels = false, decision }: (typeof mix)[number]): Promise<string> {
  const id = await shop.place(changes);
  accepted.push({ id, ends });
  if (cancels) await insist("order", `/orders/${id}/cancel`, {});
  if (decision !== undefined) {
    await shop.reaches(id, ["in_review", "cancelled"]);
    await insist("fraud", `/reviews/${id}/decision`, { decision, reviewer: "eve", note: "" });
  }
  return id;
}

/** Places one order of each kind while `disturb` goes on, and waits until all of them have ended as they should. */
async function ordersDuring(disturb: (refunded: Promise<string>) => Promise<void>): Promise<void> {
  const placing = mix.map(async (kind) => ({ kind, id: await place(kind) }));
  const refunded = placing[mix.findIndex(({ name }) => name === "broken")];
  if (refunded === undefined) throw new Error("No order of the mix is refunded");
  const [placed] = await Promise.all([Promise.all(placing), disturb(refunded.then(({ id }) => id))]);
  for (const { kind, id } of placed) {
    const { state, reason } = await shop.ends(id);
    expect(kind.ends, `${kind.name} ${id}`).toContain(reason ?? state);
  }
}

/** Two kills, and the ends of orders that waited for what was killed. */
const SURVIVED_MS = 90_000;

describe("an order of any kind in mid-flow", () => {
  it.each([...shopServices.map(({ name }) => name), "nats-server"])(
    "survives a SIGKILL of %s, and another one while others are undone",
    async (name) => {
      await ordersDuring(async (refunded) => {
        await shop.shop.kill(name);
        await shop.shop.ready(name);
        await shop.reaches(await refunded, ["refunding", "releasing", "cancelled"]);
        await shop.shop.kill(name);
        await shop.shop.ready(name);
      });
    },
    SURVIVED_MS,
  );

  it(
    "survives the end and the start of everything",
    async () => {
      await ordersDuring(async (refunded) => {
        await shop.reaches(await refunded, ["refunding", "releasing", "cancelled"]);
        await Promise.all(shopServices.map(({ name }) => shop.shop.stop(name)));
        await shop.shop.restart("nats-server");
        await Promise.all(shopServices.map(({ name }) => shop.shop.start(name)));
      });
    },
    SURVIVED_MS,
  );

  it("leaves money, stock, histories and mails as they should be after all of it, and no dead letter", async () => {
    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet();
    const mails = await sentMails(join(shop.folder, "mail"));
    expect(auditLedgers(await readLedgers(streams.jsm), { accepted, stock, mails })).toEqual([]);
  });
});
