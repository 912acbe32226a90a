import { beforeAll, describe, expect, it } from "vitest";
import {
  type Event,
  events,
  type Rule,
  type State,
  states,
  type Table,
  table,
} from "../../services/coordinator/table.ts";
import { type Exploration, explore } from "./explore.ts";
import { mutate } from "./mutations.ts";
import { scenarios } from "./world.ts";

function violationIn(name: string, mutant: Table): Exploration["violation"] {
  const scenario = scenarios.find((known) => known.name === name);
  if (scenario === undefined) throw new RangeError(`Cannot explore ${name}: there is no such scenario`);
  return explore(scenario, mutant).violation;
}

/** The checkout's table, which tells what is looked up in it. */
function recordingTable(onLookUp: (row: string) => void): Table {
  const rows = states.map((state) => {
    const row = new Proxy<Table[State]>(table[state], {
      get(rules, event: Event) {
        onLookUp(`${state} × ${event}`);
        return rules[event];
      },
    });
    return [state, row] as const;
  });
  return Object.fromEntries(rows) as Table;
}

const ignored: Rule = { kind: "ignore", why: "a mistake" };

describe("explore()", () => {
  const reached = new Set<string>();
  const found = new Map<string, Exploration>();
  // All scenarios take a few seconds on a machine that has nothing else to do.
  beforeAll(() => {
    const recording = recordingTable((row) => reached.add(row));
    for (const scenario of scenarios) found.set(scenario.name, explore(scenario, recording));
  }, 120_000);

  it.each(scenarios)("finds no state of one order that breaks an invariant: $name", ({ name }) => {
    const { violation, states = 0, ends = 0 } = found.get(name) ?? {};
    expect(violation).toBeUndefined();
    expect(states).toBeGreaterThan(1_000);
    expect(ends).toBeGreaterThan(0);
  });

  it("gets to every rule of the table that does something", () => {
    const doing = states.flatMap((state) =>
      events.filter((event) => table[state][event].kind !== "ignore").map((event) => `${state} × ${event}`),
    );
    expect(doing.filter((row) => !reached.has(row))).toEqual([]);
  });

  // A test of the checker: each of these is a plausible mistake in the table.
  const mistakes: {
    mistake: string;
    in: string;
    changes: (readonly [State, Event, Rule])[];
    found: RegExp;
  }[] = [
    {
      mistake: "no refund when fulfilment fails",
      in: "enough stock, clear, fails",
      changes: [
        [
          "fulfilling",
          "fulfillment.failed",
          { kind: "go", to: "releasing", send: ["release_stock"], reason: "fulfillment_failed" },
        ],
      ],
      found: /^I1/,
    },
    {
      mistake: "no refund when a capture is heard of too late",
      in: "enough stock, clear, ships",
      changes: [
        [
          "charging",
          "checkout.deadline_passed",
          { kind: "go", to: "releasing", send: ["release_stock"], reason: "timed_out" },
        ],
        ["releasing", "payment.captured", ignored],
        ["cancelled", "payment.captured", ignored],
      ],
      found: /^I1/,
    },
    {
      mistake: "no release after the refund",
      in: "enough stock, clear, ships",
      changes: [["refunding", "payment.refunded", { kind: "go", to: "cancelled", send: [] }]],
      found: /^I2/,
    },
    {
      mistake: "no release when the payment is declined",
      in: "enough stock, clear, ships",
      changes: [
        [
          "charging",
          "payment.declined",
          { kind: "go", to: "cancelled", send: [], reason: "payment_declined" },
        ],
      ],
      found: /^I2/,
    },
    {
      mistake: "a release that is never asked for",
      in: "enough stock, flag, ships",
      changes: [
        [
          "in_review",
          "fraud.review_rejected",
          { kind: "go", to: "releasing", send: [], reason: "review_rejected" },
        ],
      ],
      found: /^I3/,
    },
    {
      mistake: "a capture that is ignored",
      in: "enough stock, clear, ships",
      changes: [["charging", "payment.captured", ignored]],
      found: /^I3/,
    },
    {
      mistake: "an early clearance that is forgotten",
      in: "enough stock, clear, ships",
      changes: [["reserving", "fraud.order_cleared", ignored]],
      found: /^I3/,
    },
    {
      mistake: "a review that is not closed",
      in: "short of stock, flag",
      changes: [
        [
          "reserving",
          "inventory.stock_rejected",
          { kind: "go", to: "cancelled", send: [], reason: "out_of_stock" },
        ],
      ],
      found: /review queue/,
    },
    {
      mistake: "goods that leave before the money is there",
      in: "enough stock, clear, ships",
      changes: [
        [
          "screening",
          "fraud.order_cleared",
          { kind: "go", to: "fulfilling", send: ["charge_payment", "fulfill_order"] },
        ],
      ],
      found: /^I1/,
    },
    {
      mistake: "a cancellation that is forgotten",
      in: "enough stock, clear, ships",
      changes: [["charging", "order.cancel_requested", ignored]],
      found: /not honoured/,
    },
    {
      mistake: "a clearance that counts though the review was closed",
      in: "enough stock, clear, ships",
      changes: [
        ["releasing", "fraud.order_cleared", { kind: "go", to: "charging", send: ["charge_payment"] }],
      ],
      found: /not honoured/,
    },
    {
      mistake: "a deadline that nobody minds",
      in: "enough stock, clear, ships",
      changes: [["refunding", "checkout.deadline_passed", ignored]],
      found: /deadline/,
    },
  ];
  it.each(mistakes)("shows how $mistake does harm", ({ in: name, changes, found }) => {
    const mutant = changes.reduce(
      (before, [state, event, rule]) => mutate(state, event, rule, before),
      table as Table,
    );
    expect(violationIn(name, mutant)?.what).toMatch(found);
  });

  it("tells the shortest way to the harm", () => {
    const mutant = mutate("refunding", "payment.refunded", { kind: "go", to: "cancelled", send: [] });
    const { what, trace } = violationIn("enough stock, clear, ships", mutant) ?? {};
    expect({ what, trace }).toMatchInlineSnapshot(`
      {
        "trace": [
          "deliver order.created",
          "deliver checkout.reserve_stock",
          "deliver checkout.screen_order",
          "deliver inventory.stock_reserved",
          "deliver fraud.order_cleared",
          "deliver checkout.charge_payment, effect begins",
          "provider: capture is captured",
          "checkout.charge_payment concludes: captured",
          "timer fires checkout.deadline_passed",
          "deliver checkout.deadline_passed (charging, version 4)",
          "deliver checkout.refund_payment (timed_out), effect begins",
          "deliver payment.captured",
          "provider: refund is refunded",
          "checkout.refund_payment concludes: refunded",
          "deliver payment.refunded",
        ],
        "what": "I2: the stock of a cancelled order is reserved",
      }
    `);
  });
});
