import { hash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { CaptureAnswer, CaptureRequest, Provider } from "./provider.ts";

export interface SandboxOptions {
  /** How long `tok_slow` takes. */
  slowMs: number;
}

/** Tries of `tok_flaky` that fail before one succeeds. */
const FLAKY_FAILURES = 2;
/** Captures that cannot be refunded are known by their ids. */
const PENDING = "sandbox_ch_pending";
const REFUSED = "sandbox_ch_refused";
const PENDING_MS = 60_000;
/** Keys whose failures are remembered. The oldest are forgotten, and fail anew when they come again. */
const MAX_FLAKY_KEYS = 10_000;

/**
 * A provider that moves no money and keeps nothing: ids are derived from the idempotency key, so that the same key
 * gives the same capture whatever was restarted in between. Having no memory it cannot say whether it was ever asked for
 * a capture: a request that is `learnOnly` is answered like any other, as if the capture had happened.
 *
 * | token | |
 * |---|---|
 * | `tok_visa` | captures |
 * | `tok_declined` | is declined, `card_declined` |
 * | `tok_slow` | captures after `slowMs` |
 * | `tok_flaky` | is unavailable twice for each key, then captures |
 * | `tok_refund_pending` | captures; a refund of it stays pending |
 * | `tok_refund_refused` | captures; a refund of it is refused for good, `charge_disputed` |
 * | any other | is declined, `invalid_token` |
 */
export function sandbox({ slowMs }: SandboxOptions): Provider {
  const failures = new Map<string, number>();

  function failsAgain(idempotencyKey: string): boolean {
    const count = failures.get(idempotencyKey) ?? 0;
    if (count >= FLAKY_FAILURES) return false;
    failures.set(idempotencyKey, count + 1);
    if (failures.size > MAX_FLAKY_KEYS) {
      const [oldest] = failures.keys();
      if (oldest !== undefined) failures.delete(oldest);
    }
    return true;
  }

  return {
    name: "sandbox",
    async capture({ token, idempotencyKey }: CaptureRequest, { signal }): Promise<CaptureAnswer> {
      switch (token) {
        case "tok_visa":
          return captured(idempotencyKey);
        case "tok_refund_pending":
          return { kind: "captured", captureId: idFrom(PENDING, idempotencyKey) };
        case "tok_refund_refused":
          return { kind: "captured", captureId: idFrom(REFUSED, idempotencyKey) };
        case "tok_declined":
          return { kind: "declined", code: "card_declined" };
        case "tok_slow":
          await sleep(slowMs, undefined, { signal });
          return captured(idempotencyKey);
        case "tok_flaky":
          return failsAgain(idempotencyKey)
            ? { kind: "unavailable", reason: "the sandbox is flaky" }
            : captured(idempotencyKey);
        default:
          return { kind: "declined", code: "invalid_token" };
      }
    },
    async refund({ captureId, idempotencyKey }) {
      if (captureId.startsWith(PENDING)) {
        return { kind: "unavailable", reason: "the refund is pending", retryAfterMs: PENDING_MS };
      }
      if (captureId.startsWith(REFUSED)) return { kind: "refund_refused", code: "charge_disputed" };
      return { kind: "refunded", refundId: idFrom("sandbox_re", idempotencyKey) };
    },
  };
}

function captured(idempotencyKey: string): CaptureAnswer {
  return { kind: "captured", captureId: idFrom("sandbox_ch", idempotencyKey) };
}

function idFrom(prefix: string, idempotencyKey: string): string {
  return `${prefix}_${hash("sha256", idempotencyKey).slice(0, 24)}`;
}
