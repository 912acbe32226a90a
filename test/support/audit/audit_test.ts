import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkoutState, decode } from "../../../nats/mod.ts";
import { sentMails } from "../mails.ts";
import { openShop, type TestShop } from "../shop.ts";
import { openStreams } from "../streams.ts";
import { until } from "../until.ts";
import { auditLedgers } from "./audit.ts";
import { type Ledgers, readLedgers, type Stored } from "./ledgers.ts";

let shop: TestShop;
let ledgers: Ledgers;
let mails: string[];
const accepted: { id: string; ends: string[] }[] = [];
const stock = { mug: 1_000_000, broken: 1_000 };

beforeAll(async () => {
  shop = await openShop();
  accepted.push({ id: await shop.place(), ends: ["completed"] });
  accepted.push({
    id: await shop.place({ lines: [{ sku: "broken", quantity: 2 }] }),
    ends: ["fulfillment_failed"],
  });
  for (const { id } of accepted) await shop.ends(id);
  await using streams = await openStreams(shop.shop.operator);
  await until("both mails of both", async () => (await streams.lastSequences()).NOTIFICATION === 4);
  await streams.quiet();
  ledgers = await readLedgers(streams.jsm);
  mails = await sentMails(join(shop.folder, "mail"));
});
afterAll(() => shop[Symbol.asyncDispose]());

/** The audit of what is stored after somebody has tampered with one stream. */
function audit(stream: string, tamper: (messages: readonly Stored[]) => readonly Stored[]): string[] {
  const tampered = { ...ledgers, [stream]: tamper(ledgers[stream] ?? []) };
  return auditLedgers(tampered, { accepted, stock, mails });
}

const is = (subject: string) => (message: Stored) => message.subject.startsWith(`${subject}.`);
const without = (subject: string) => (messages: readonly Stored[]) =>
  messages.filter((message) => !is(subject)(message));

/** Appends the last message of a subject once more, as a message of its own. */
const doubled = (subject: string) => (messages: readonly Stored[]) => {
  const last = messages.findLast(is(subject));
  const seq = (messages.at(-1)?.seq ?? 0) + 1;
  if (last === undefined) throw new RangeError(`There is no ${subject}`);
  const headers = Object.assign(Object.create(Object.getPrototypeOf(last.headers)), last.headers, {
    headers: new Map(),
  });
  return [...messages, { ...last, seq, headers }];
};

describe("auditLedgers()", () => {
  it("finds nothing wrong with what the shop has stored", () => {
    expect(audit("ORDER", (messages) => messages)).toEqual([]);
  });

  it.each([
    ["PAYMENT", "payment.captured", "I4"],
    ["PAYMENT", "payment.refunded", "I4"],
    ["FULFILLMENT", "fulfillment.shipped", "I4"],
    ["INVENTORY", "inventory.stock_released", "I4"],
    ["CHECKOUT", "checkout.completed", "I4"],
    ["NOTIFICATION", "notification.mail", "I4"],
    ["ORDER", "order.created", "I4"],
  ])("of %s finds a second %s", (stream, subject, rule) => {
    expect(audit(stream, doubled(subject))).toContainEqual(
      expect.stringMatching(new RegExp(`^${rule} .*2 `)),
    );
  });

  it.each([
    ["PAYMENT", "payment.refunded", "I4"],
    ["PAYMENT", "payment.payment", "I1"],
    ["INVENTORY", "inventory.reservation", "I2"],
    ["CHECKOUT", "checkout.release_stock", "I5"],
    ["CHECKOUT", "checkout.state", "I3"],
    ["FULFILLMENT", "fulfillment.failed", "I4"],
    ["FULFILLMENT", "fulfillment.shipped", "I4"],
    ["FRAUD", "fraud.order_cleared", "I4"],
  ])("of %s misses a missing %s", (stream, subject, rule) => {
    expect(audit(stream, without(subject))).toContainEqual(expect.stringMatching(new RegExp(`^${rule} `)));
  });

  it("misses each mail, and finds each that is there twice", () => {
    expect(mails).toHaveLength(4);
    for (const [index, id] of mails.entries()) {
      const without = auditLedgers(ledgers, { accepted, stock, mails: mails.toSpliced(index, 1) });
      expect(without).toEqual([expect.stringMatching(/^I4 .*its mails are/)]);
      const doubled = auditLedgers(ledgers, { accepted, stock, mails: [...mails, id] });
      expect(doubled).toEqual([expect.stringMatching(/^I4 .*its mails are/)]);
    }
  });

  it("misses a transition in the middle of a history", () => {
    const violations = audit("CHECKOUT", (messages) => {
      const charging = messages.find(
        (message) =>
          is("checkout.state")(message) && decode(checkoutState, message.data).state === "charging",
      );
      return messages.filter((message) => message !== charging);
    });
    expect(violations).toContainEqual(expect.stringContaining("a transition is missing"));
  });

  it("finds a batch that was stored in part", () => {
    const violations = audit("PAYMENT", (messages) => {
      const last = messages.findLast(({ headers }) => headers.get("Nats-Batch-Commit") !== "");
      return messages.filter((message) => message !== last);
    });
    expect(violations).toContainEqual(expect.stringMatching(/^batch .* breaks off/));
  });

  it("finds an order that nobody was promised, and one that is gone", () => {
    const [first] = accepted;
    const expected = { accepted: [{ id: "ord_gone" }, ...(first ? [first] : [])], stock, mails };
    const violations = auditLedgers(ledgers, expected);
    expect(violations).toContainEqual(expect.stringMatching(/^I4 .*nobody was promised/));
    expect(violations).toContainEqual(expect.stringMatching(/^I3 ord_gone/));
  });
});
