import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { awaitedIn, workingConsumers } from "../../nats/mod.ts";
import { tablePage } from "./diagram.ts";
import { type Command, type Event, events, type Rule, type State, states, table } from "./table.ts";

function rule(state: State, event: Event): Rule {
  return table[state][event];
}

function targets(state: State): State[] {
  return events.flatMap((event) => {
    const found = rule(state, event);
    return found.kind === "go" ? [found.to] : [];
  });
}

function reachable(from: State): Set<State> {
  const seen = new Set<State>([from]);
  for (const state of seen) for (const to of targets(state)) seen.add(to);
  return seen;
}

/** Events after which an order is somewhere else because of itself: no person's wish, and no deadline. */
const answers = events.filter(
  (event) => !["order.cancel_requested", "checkout.deadline_passed"].includes(event),
);

describe("what an order waits for", () => {
  it.each(states)("in %s is what leads on from there, and what was sent to get an answer", (state) => {
    const awaited = awaitedIn[state];
    const by = (service: string) =>
      awaited.filter((it) => it.service === service).map(({ contract }) => contract.subject);
    expect(by("coordinator").toSorted()).toEqual(
      answers.filter((event) => ["go", "defer"].includes(rule(state, event).kind)).toSorted(),
    );
    const sent = states.flatMap((from) =>
      answers.flatMap((event) => {
        const found = rule(from, event);
        return found.kind === "go" && found.to === state ? found.send : [];
      }),
    );
    const commands = awaited.filter(({ service }) => service !== "coordinator");
    // A review is closed for the reviewers' sake; nobody waits for it. What is asked at once is waited for one after the other.
    const waited = sent
      .filter((command) => command !== "close_review")
      .map((command) => `checkout.${command}`);
    expect(commands.map(({ contract }) => contract.subject)).toEqual(expect.arrayContaining(waited));
    for (const { service, contract } of commands) {
      const takers = workingConsumers().filter((spec) => spec.contracts.includes(contract));
      expect(takers.map((spec) => spec.service)).toEqual([service]);
    }
  });
});

describe("table", () => {
  it("reaches every state from created", () => {
    expect([...reachable("created")].sort()).toEqual([...states].sort());
  });

  it.each(states.filter((state) => state !== "completed" && state !== "cancelled"))(
    "leads from %s to an end",
    (state) => {
      const ends = [...reachable(state)].filter((to) => to === "completed" || to === "cancelled");
      expect(ends).not.toEqual([]);
    },
  );

  it.each(["completed", "cancelled"] as const)("never leaves %s", (end) => {
    expect(targets(end)).toEqual([]);
  });

  it.each(states)("says why %s ignores, keeps or undoes something", (state) => {
    for (const event of events) {
      const found = rule(state, event);
      if (found.kind !== "go") expect(found.why).not.toBe("");
    }
  });

  it("leaves every waiting state when its deadline passes, or asks again", () => {
    for (const state of states) {
      if (["created", "completed", "cancelled"].includes(state)) continue;
      expect(rule(state, "checkout.deadline_passed").kind).toMatch(/^(go|repeat)$/);
    }
  });

  it("I1: asks for a refund on every way out of charging and fulfilling that is not the provider's or the carrier's", () => {
    for (const state of ["charging", "fulfilling"] as const) {
      for (const event of events) {
        const found = rule(state, event);
        if (found.kind !== "go" || found.to === "fulfilling" || found.to === "completed") continue;
        if (event === "payment.declined") continue;
        expect(found).toMatchObject({ to: "refunding", send: expect.arrayContaining(["refund_payment"]) });
      }
    }
  });

  it("I2: asks for the release of the stock on every way to releasing", () => {
    for (const state of states) {
      for (const event of events) {
        const found = rule(state, event);
        if (found.kind === "go" && found.to === "releasing") expect(found.send).toContain("release_stock");
      }
    }
  });

  it("ignores a clearance wherever it has a review closed, since fraud may do both at once", () => {
    for (const state of states) {
      for (const event of events) {
        const found = rule(state, event);
        if (!("send" in found) || !(found.send as readonly Command[]).includes("close_review")) continue;
        for (const later of reachable(found.kind === "go" ? found.to : state)) {
          expect(rule(later, "fraud.order_cleared").kind, later).toBe("ignore");
        }
      }
    }
  });

  it("gives a reason to every cancellation, once", () => {
    for (const state of states) {
      for (const event of events) {
        const found = rule(state, event);
        if (found.kind !== "go") continue;
        const starts = ["refunding", "releasing", "cancelled"].includes(found.to);
        const under = ["refunding", "releasing"].includes(state);
        expect(found.reason !== undefined, `${state} × ${event}`).toBe(starts && !under);
      }
    }
  });
});

describe("docs/checkout.md", () => {
  it("is what the table says (npm run docs)", async () => {
    const page = await readFile(new URL("../../docs/checkout.md", import.meta.url), "utf8");
    expect(page).toBe(tablePage());
  });
});
