import type { Letter, SendResult } from "../../services/notification/mailer.ts";
import type { Answer, Effect } from "../../services/payment/decide.ts";
import type { Surroundings } from "./process.ts";
import type { Task } from "./time.ts";

/** How long the provider takes for `tok_slow`: longer than the checkout waits for it. */
const SLOW_MS = 30_000;
const OUTSIDE_MS = 20;

/** The payment provider: it keeps what it did by key, and says the same to the same key. */
export class Provider {
  readonly captures = new Map<string, { orderId: string; cents: bigint; outcome: "captured" | "declined" }>();
  readonly refunds = new Map<string, { orderId: string; captureId: string; cents: bigint }>();
  /** Requests that should never have been made. */
  readonly faults: string[] = [];
  #serial = 0;

  *perform(effect: Effect, around: Surroundings): Task<Answer> {
    const { random, network, bug } = around;
    const again = bug === "new_idempotency_key_each_time" ? `/${++this.#serial}` : "";
    const key = `${effect.idempotencyKey}${again}`;
    const unavailable: Answer = { kind: "unavailable", reason: "no answer" };
    const slow = effect.kind === "capture" && effect.token === "tok_slow" && !this.captures.has(key);
    yield slow ? random.delay(SLOW_MS) : random.delay(OUTSIDE_MS);
    if (random.chance(network.faults.outsideFails)) return unavailable;
    const answer = effect.kind === "capture" ? this.#capture(key, effect) : this.#refund(key, effect);
    around.say("provider", () => `${effect.kind} of ${effect.orderId} (${key}): ${answer.kind}`);
    yield random.delay(OUTSIDE_MS);
    return random.chance(network.faults.outsideMute) ? unavailable : answer;
  }

  #capture(key: string, { orderId, amountCents: cents, token }: Effect & { kind: "capture" }): Answer {
    const outcome = token === "tok_declined" ? "declined" : "captured";
    const known = this.captures.get(key) ?? { orderId, cents, outcome };
    if (known.orderId !== orderId || known.cents !== cents)
      this.faults.push(`another request under the key ${key}`);
    this.captures.set(key, known);
    return known.outcome === "captured"
      ? { kind: "captured", captureId: key }
      : { kind: "declined", code: "no" };
  }

  #refund(key: string, { orderId, captureId, amountCents: cents }: Effect & { kind: "refund" }): Answer {
    if (this.captures.get(captureId)?.outcome !== "captured")
      this.faults.push(`refund of ${captureId}, which is none`);
    this.refunds.set(key, { orderId, captureId, cents });
    return { kind: "refunded", refundId: key };
  }
}

/** The customers' mailboxes: one letter for each Message-ID, whatever is sent again. */
export class Mailboxes {
  readonly letters = new Map<string, Letter>();
  readonly faults: string[] = [];

  *perform(letter: Letter, { random, network }: Surroundings): Task<SendResult> {
    const unavailable: SendResult = { kind: "unavailable", reason: "no answer" };
    yield random.delay(OUTSIDE_MS);
    if (random.chance(network.faults.outsideFails)) return unavailable;
    const before = this.letters.get(letter.messageId);
    if (before !== undefined && (before.text !== letter.text || before.to !== letter.to)) {
      this.faults.push(`two letters are called ${letter.messageId}`);
    }
    this.letters.set(letter.messageId, letter);
    return random.chance(network.faults.outsideMute) ? unavailable : { kind: "sent" };
  }
}
