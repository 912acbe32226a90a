import { describe, expect, it } from "vitest";
import type { CaptureRequest } from "./provider.ts";
import { sandbox } from "./sandbox.ts";

const signal = new AbortController().signal;

function request(token: string, orderId = "o1"): CaptureRequest {
  return {
    orderId,
    amountCents: 100n,
    currency: "EUR",
    token,
    idempotencyKey: `${orderId}/capture`,
    askedBefore: false,
    learnOnly: false,
  };
}

describe("sandbox()", () => {
  it("captures tok_visa, the same capture for the same key, in every process", async () => {
    const first = await sandbox({ slowMs: 1 }).capture(request("tok_visa"), { signal });
    expect(first).toEqual({
      kind: "captured",
      captureId: expect.stringMatching(/^sandbox_ch_[0-9a-f]{24}$/),
    });
    expect(await sandbox({ slowMs: 1 }).capture(request("tok_visa"), { signal })).toEqual(first);
    expect(await sandbox({ slowMs: 1 }).capture(request("tok_visa", "o2"), { signal })).not.toEqual(first);
  });

  it("declines tok_declined, and every token that it does not know", async () => {
    const provider = sandbox({ slowMs: 1 });
    expect(await provider.capture(request("tok_declined"), { signal })).toEqual({
      kind: "declined",
      code: "card_declined",
    });
    expect(await provider.capture(request("4242"), { signal })).toEqual({
      kind: "declined",
      code: "invalid_token",
    });
  });

  it("fails tok_flaky twice for each key, then captures, also afterwards", async () => {
    const provider = sandbox({ slowMs: 1 });
    const kinds: string[] = [];
    for (let n = 0; n < 4; n++) kinds.push((await provider.capture(request("tok_flaky"), { signal })).kind);
    expect(kinds).toEqual(["unavailable", "unavailable", "captured", "captured"]);
    expect(await provider.capture(request("tok_flaky", "o2"), { signal })).toMatchObject({
      kind: "unavailable",
    });
  });

  it.each([
    ["tok_refund_pending", { kind: "unavailable", reason: "the refund is pending", retryAfterMs: 60_000 }],
    ["tok_refund_refused", { kind: "refund_refused", code: "charge_disputed" }],
  ])("captures %s, and does not refund it", async (token, said) => {
    const provider = sandbox({ slowMs: 1 });
    const answer = await provider.capture(request(token), { signal });
    if (answer.kind !== "captured") throw new Error(`it is ${answer.kind}`);
    const { captureId } = answer;
    expect(await provider.refund({ ...request(token), captureId }, { signal })).toEqual(said);
  });

  it("captures tok_slow late", async () => {
    const started = performance.now();
    const answer = await sandbox({ slowMs: 60 }).capture(request("tok_slow"), { signal });
    expect(answer.kind).toBe("captured");
    // A timer may fire a millisecond early.
    expect(performance.now() - started).toBeGreaterThanOrEqual(59);
  });

  it("answers who wants to learn only as if it had been asked before: it has no memory", async () => {
    const learn = { ...request("tok_visa"), askedBefore: true, learnOnly: true };
    const answer = await sandbox({ slowMs: 1 }).capture(learn, { signal });
    expect(answer).toEqual(await sandbox({ slowMs: 1 }).capture(request("tok_visa"), { signal }));
  });

  it("stops waiting for tok_slow when told to", async () => {
    const stopping = new AbortController();
    const asked = sandbox({ slowMs: 60_000 }).capture(request("tok_slow"), { signal: stopping.signal });
    stopping.abort();
    await expect(asked).rejects.toMatchObject({ name: "AbortError" });
  });

  it("refunds, the same refund for the same key", async () => {
    const refund = {
      orderId: "o1",
      captureId: "c1",
      amountCents: 100n,
      currency: "EUR",
      idempotencyKey: "o1/refund",
    };
    const first = await sandbox({ slowMs: 1 }).refund(refund, { signal });
    expect(first).toMatchObject({ kind: "refunded" });
    expect(await sandbox({ slowMs: 1 }).refund(refund, { signal })).toEqual(first);
  });
});
