import { describe, expect, it } from "vitest";
import { orderStates } from "../../nats/mod.ts";
import { type Rule, states, table } from "../coordinator/table.ts";
import { isBeyondCancel } from "./cancel.ts";

// The services share no code. What this one says of states has to be what the coordinator's table says all the same.

describe("orderStates", () => {
  it("are the states of the coordinator's table", () => {
    expect(orderStates.toSorted()).toEqual(states.toSorted());
  });
});

describe("isBeyondCancel()", () => {
  it.each(states)("says of %s what the coordinator's table does with a wish to cancel", (state) => {
    const rule: Rule = table[state]["order.cancel_requested"];
    const refused = rule.kind === "ignore" && !["refunding", "releasing", "cancelled"].includes(state);
    expect(isBeyondCancel(state)).toBe(refused);
    if (refused) expect(rule.why).toBe("fulfilment has been dispatched");
  });
});
