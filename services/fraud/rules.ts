import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { EvidenceSchema } from "../../gen/shop/fraud/v1/screening_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import { mailDomain } from "../../lib/mod.ts";

type Order = MessageShape<typeof OrderSchema>;
export type Evidence = MessageInitShape<typeof EvidenceSchema> & { rule: string };

/** What a rule can look at, under the name that a reviewer reads. */
const fields = {
  "customer.email": (order) => order.customer?.email,
  "shipping_address.line1": (order) => order.shippingAddress?.line1,
  "shipping_address.line2": (order) => order.shippingAddress?.line2,
  total_cents: (order) => order.totalCents,
} satisfies Record<string, (order: Order) => string | bigint | undefined>;

/**
 * When a field's value speaks against an order. Text is compared without regard to case: what is written here is in
 * lower case.
 * - `contains`: the text has this in it.
 * - `domainIn`: the text is an email address at one of these domains or below one.
 * - `atLeast`: the number is this or more.
 */
type Match =
  | { kind: "contains"; text: string }
  | { kind: "domainIn"; domains: readonly string[] }
  | { kind: "atLeast"; value: bigint };

export interface Rule {
  readonly name: string;
  /** Why a hit is worth a person's time, in words for that person. */
  readonly description: string;
  /** Each of them that matches is a hit of its own. */
  readonly fields: readonly (keyof typeof fields)[];
  readonly match: Match;
}

/** One hit is enough for a review. To add a rule, add a row. */
export const rules: readonly Rule[] = [
  {
    name: "freight_forwarder",
    description: "Goods that go to a freight forwarder cannot be followed to who receives them",
    fields: ["shipping_address.line1", "shipping_address.line2"],
    match: { kind: "contains", text: "freight forwarding" },
  },
  {
    name: "disposable_email",
    description: "A mailbox that anybody opens and nobody keeps says nothing of who the customer is",
    fields: ["customer.email"],
    match: {
      kind: "domainIn",
      domains: [
        "10minutemail.com",
        "guerrillamail.com",
        "mailinator.com",
        "sharklasers.com",
        "temp-mail.org",
        "trashmail.com",
        "yopmail.com",
      ],
    },
  },
  {
    name: "very_large_order",
    description: "An order this large is confirmed with the customer before it is charged",
    fields: ["total_cents"],
    match: { kind: "atLeast", value: 50_000_000n },
  },
];

/** The evidence against an order, in the order of the rules. None: nothing speaks against it. */
export function evaluate(order: Order, table: readonly Rule[] = rules): Evidence[] {
  // Every order comes through here several times, and hardly any hits a rule.
  const evidence: Evidence[] = [];
  for (const { name, description, fields: looksAt, match } of table) {
    for (const field of looksAt) {
      const value = fields[field](order);
      if (value === undefined || !matches(match, value)) continue;
      evidence.push({ rule: name, field, value: String(value), explanation: description });
    }
  }
  return evidence;
}

function matches(match: Match, value: string | bigint): boolean {
  switch (match.kind) {
    case "contains":
      return String(value).toLowerCase().includes(match.text);
    case "domainIn":
      return isAt(match.domains, String(value).toLowerCase());
    case "atLeast":
      return BigInt(value) >= match.value;
    default:
      return match satisfies never;
  }
}

/** Whether an address is at one of the domains, or at a domain below one of them. */
function isAt(domains: readonly string[], email: string): boolean {
  // However it is typed: letters of full width mean the same domain.
  const at = mailDomain(email);
  return domains.some(
    (domain) => at.endsWith(domain) && (at.length === domain.length || at.at(-domain.length - 1) === "."),
  );
}
