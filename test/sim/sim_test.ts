import { describe, expect, it } from "vitest";
import type { Bug } from "./process.ts";
import { runSeeds } from "./run.ts";
import { simulate } from "./simulate.ts";

/** As many as a test run has the time for; `npm run sim` runs more of them. */
const SEEDS = 2_000;
/** Each mistake shows in a fifth of all seeds at least. */
const SEEDS_PER_MISTAKE = 60;

describe("simulate()", () => {
  it(`finds every order ended and everything balanced in ${SEEDS} seeds`, { timeout: 240_000 }, async () => {
    const { failed, orders } = await runSeeds({ from: 1, count: SEEDS });
    expect(failed).toEqual([]);
    expect(orders).toBeGreaterThan(SEEDS * 3);
  });

  it("is the same for the same seed", () => {
    const history = (): string[] => {
      const lines: string[] = [];
      simulate(7, { say: (line) => lines.push(line) });
      return lines;
    };
    const first = history();
    expect(first.length).toBeGreaterThan(50);
    expect(history()).toEqual(first);
  });

  it("gets orders to every end", () => {
    const ends = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) for (const end of simulate(seed).ends) ends.add(end);
    expect([...ends].sort()).toEqual([
      "cancelled customer_request",
      "cancelled fulfillment_failed",
      "cancelled out_of_stock",
      "cancelled payment_declined",
      "cancelled review_expired",
      "cancelled review_rejected",
      "cancelled timed_out",
      "completed",
    ]);
  });

  // A test of the simulation: each of these is a plausible mistake in the machinery.
  const mistakes: Record<Bug, RegExp> = {
    ack_before_commit: /^I3|mails/,
    unknown_is_committed: /^I[23]|mails/,
    unknown_is_tried_again_unguarded: /^I4/,
    no_guards: /^I[1245]/,
    cache_is_trusted: /^I3/,
    new_idempotency_key_each_time: /^I4: money was captured/,
    batches_are_torn: /^I3/,
  };
  it.each(Object.entries(mistakes))("shows the harm of %s", (bug, found) => {
    const faults: string[] = [];
    for (let seed = 1; seed <= SEEDS_PER_MISTAKE; seed++) {
      faults.push(...simulate(seed, { bug: bug as Bug }).faults.map(({ what }) => what));
    }
    expect(faults.join("\n")).toMatch(new RegExp(found.source, "m"));
  });
});
