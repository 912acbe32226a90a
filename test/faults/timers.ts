import { setTimeout as sleep } from "node:timers/promises";
import { flaggedAddress, operator } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { place, underLoad } from "./load.ts";
import type { Kind } from "./orders.ts";
import type { World } from "./world.ts";

const flagged = (...ends: string[]): Kind => ({
  name: "flagged",
  changes: { shipping_address: flaggedAddress },
  ends,
});

/** Reviews that are waited for at a time: what is tested is the moment of expiry, not the crowd. */
const MAX_REVIEWS = 60;

async function placeInReview(world: World, { count, ends }: { count: number; ends: string[] }) {
  const placed = await Promise.all(
    Array.from({ length: Math.min(count, MAX_REVIEWS) }, () => place(world, flagged(...ends))),
  );
  await Promise.all(placed.map(({ id }) => world.shop.reaches(id, "in_review")));
  return placed;
}

const timerRestart: Fault = {
  name: "timer_restart",
  does: "a review's deadline passes while the services that wait for it are down, then while nats-server is down",
  passes: "it takes effect once, when they are back, and never early",
  // The shortest deadline is when a checkout's first timer fires: here while it is in review, which sets the next one.
  world: { environment: { REVIEW_TTL_MS: "4000", RELEASING_DEADLINE_MS: "1000" } },
  async run(world, extent) {
    const { shop } = world.shop;
    const waiters = ["fraud", "coordinator"];
    const deadlineMs = 4_500;
    const count = Math.ceil(extent.orders / 4);
    await placeInReview(world, { count, ends: ["review_expired"] });
    await Promise.all(waiters.map((name) => shop.stop(name)));
    await sleep(deadlineMs);
    await Promise.all(waiters.map((name) => shop.start(name)));
    await placeInReview(world, { count, ends: ["review_expired"] });
    await shop.stop("nats-server");
    await sleep(deadlineMs);
    await shop.start("nats-server");
    world.tally.pauses += waiters.length + 1;
    await underLoad(world, { orders: Math.ceil(extent.orders / 2) }, async () => undefined);
    return [];
  },
};

const timerCancelRace: Fault = {
  name: "timer_cancel_race",
  does: "a review is approved, rejected, or its order cancelled, within 50 ms of the moment at which it expires",
  passes: "one of them takes effect, and whoever was told that his did is right",
  world: { environment: { REVIEW_TTL_MS: "3000" } },
  async run(world, extent) {
    const wrong: string[] = [];
    for (let round = 0; round < extent.rounds; round++) {
      const ends = ["completed", "review_rejected", "review_expired", "customer_request"];
      const placed = await placeInReview(world, { count: extent.orders / extent.rounds, ends });
      const found = await Promise.all(placed.map(({ id }, index) => decideAtExpiry(world, id, index)));
      wrong.push(...found.filter((fault) => fault !== undefined));
    }
    return wrong;
  },
};

/** Decides at the last moment, and waits for the end. @returns What contradicts the answer. */
async function decideAtExpiry({ shop }: World, id: string, index: number): Promise<string | undefined> {
  const { history } = await shop.order(id);
  // The coordinator heard of the flag a moment after the review began: most decisions come right around its end.
  const began = Date.parse(history.at(-1)?.at ?? "");
  const expiry = began + 3_000 - 40 + Math.random() * 50;
  await sleep(Math.max(0, expiry - Date.now()));
  const decisions = ["approve", "reject", "cancel"] as const;
  const decision = decisions[index % decisions.length];
  const { status } =
    decision === "cancel"
      ? await shop.call("order", `/orders/${id}/cancel`, { method: "POST" })
      : await shop.call("fraud", `/reviews/${id}/decision`, {
          method: "POST",
          headers: operator,
          body: { decision, reviewer: "eve", note: "" },
        });
  const { reason, state } = await shop.ends(id);
  const end = reason ?? state;
  const promised = { approve: "completed", reject: "review_rejected", cancel: undefined }[
    decision ?? "cancel"
  ];
  if (status === 200 && promised !== undefined && end !== promised)
    return `I5 ${id}: ${decision}d, and ${end}`;
  if (status === 409 && decision !== "cancel" && end !== "review_expired")
    return `I5 ${id}: too late to ${decision}, and ${end}`;
  return status === 200 || status === 202 || status === 409
    ? undefined
    : `${decision} was answered with ${status}`;
}

export const timerFaults: readonly Fault[] = [timerRestart, timerCancelRace];
