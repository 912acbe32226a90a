import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Log } from "../../nats/mod.ts";
import { freePorts } from "../../test/support/mod.ts";
import type { CaptureRequest, RefundRequest } from "./provider.ts";
import { stripe } from "./stripe.ts";
import { fault, SECRET_KEY, StripeStandIn } from "./stripe_stand_in.ts";

const signal = new AbortController().signal;

function captureOf(token: string, options: Partial<CaptureRequest> = {}): CaptureRequest {
  return {
    orderId: "o1",
    amountCents: 2_400n,
    currency: "EUR",
    token,
    idempotencyKey: "o1/capture",
    askedBefore: false,
    learnOnly: false,
    ...options,
  };
}

const refundRequest: RefundRequest = {
  orderId: "o1",
  captureId: "pi_1",
  amountCents: 2_400n,
  currency: "EUR",
  idempotencyKey: "o1/refund",
};

describe("stripe()", () => {
  let api: StripeStandIn;
  let apiBase: string;
  let errors: string[];
  const log: Log = {
    info: () => undefined,
    warn: () => undefined,
    error: (fields, text) => void errors.push(JSON.stringify({ ...fields, text })),
  };
  const provider = (options: { secretKey?: string; timeoutMs?: number; apiBase?: string } = {}) =>
    stripe({ secretKey: SECRET_KEY, apiBase, log, ...options });

  beforeEach(async () => {
    errors = [];
    api = new StripeStandIn();
    apiBase = await api.listen();
  });
  afterEach(() => api[Symbol.asyncDispose]());

  it("captures with one confirmed PaymentIntent under the key of the order", async () => {
    const answer = await provider().capture(captureOf("pm_card_visa"), { signal });
    expect(answer).toEqual({ kind: "captured", captureId: "pi_1" });
    expect(api.requests).toEqual([{ method: "POST", path: "/v1/payment_intents", key: "o1/capture" }]);
    expect(Object.fromEntries(api.intents[0]?.form ?? [])).toEqual({
      amount: "2400",
      currency: "eur",
      confirm: "true",
      payment_method: "pm_card_visa",
      "automatic_payment_methods[enabled]": "true",
      "automatic_payment_methods[allow_redirects]": "never",
      "metadata[order_id]": "o1",
    });
  });

  it.each([
    ["UGX", 500n, 50_000],
    ["JPY", 500n, 500],
    ["MGA", 1_200n, 12],
    ["KWD", 5_120n, 5_120],
  ])("captures and refunds %s in Stripe's units", async (currency, amountCents, stripes) => {
    const request = captureOf("pm_card_visa", { currency, amountCents });
    const captured = { kind: "captured", captureId: "pi_1" };
    expect(await provider().capture(request, { signal })).toEqual(captured);
    expect(api.intents).toMatchObject([{ amount: stripes }]);
    expect(await provider().capture({ ...request, askedBefore: true }, { signal })).toEqual(captured);
    const refund = { ...refundRequest, currency, amountCents };
    // The second one hears of the first one from the list.
    for (const idempotencyKey of ["o1/refund", "o1/again"]) {
      const answer = await provider().refund({ ...refund, idempotencyKey }, { signal });
      expect(answer).toEqual({ kind: "refunded", refundId: "re_1" });
    }
    for (const made of api.refunds) made.amount = stripes - 1;
    expect(await provider().refund({ ...refund, idempotencyKey: "o1/third" }, { signal })).toMatchObject({
      kind: "refund_refused",
    });
    expect(errors).toHaveLength(1);
  });

  it.each([
    ["KWD", 1_234n],
    ["MGA", 1_201n],
    ["XXX", 100n],
  ])(
    "declines an amount in %s that Stripe cannot be asked for, without asking, and says so loudly",
    async (currency, amountCents) => {
      for (const learnOnly of [false, true]) {
        const request = captureOf("pm_card_visa", {
          currency,
          amountCents,
          askedBefore: learnOnly,
          learnOnly,
        });
        const declined = { kind: "declined", code: "amount_not_chargeable" };
        expect(await provider().capture(request, { signal })).toEqual(declined);
      }
      expect(api.requests.filter(({ method }) => method === "POST")).toEqual([]);
      expect(errors).toEqual([1, 2].map(() => expect.stringContaining("mend the price")));
    },
  );

  it("captures once for one key, however often it is asked", async () => {
    for (let n = 0; n < 3; n++) {
      const answer = await provider().capture(captureOf("pm_card_visa"), { signal });
      expect(answer).toEqual({ kind: "captured", captureId: "pi_1" });
    }
    expect(api.intents).toHaveLength(1);
  });

  it.each([
    ["pm_declined", "insufficient_funds"],
    ["pm_unknown", "resource_missing"],
    ["pm_authenticate", "authentication_required"],
  ])("declines %s: %s", async (token, code) => {
    expect(await provider().capture(captureOf(token), { signal })).toEqual({ kind: "declined", code });
    expect(errors).toEqual([]);
  });

  it.each([
    [500, { type: "api_error" }],
    [503, { type: "api_error" }],
    [429, { type: "invalid_request_error", code: "rate_limit" }],
    [429, { type: "invalid_request_error", code: "lock_timeout" }],
    [409, { type: "idempotency_error", code: "idempotency_key_in_use" }],
  ])("is unavailable on %d %j, and captures once when it is asked again", async (status, error) => {
    api.refuse = fault(status, error);
    expect(await provider().capture(captureOf("pm_card_visa"), { signal })).toMatchObject({
      kind: "unavailable",
      reason: expect.stringContaining(String(status)),
    });
    api.refuse = undefined;
    for (const askedBefore of [true, true]) {
      const answer = await provider().capture(captureOf("pm_card_visa", { askedBefore }), { signal });
      expect(answer).toEqual({ kind: "captured", captureId: "pi_1" });
    }
    expect(api.intents).toHaveLength(1);
    expect(errors).toEqual([]);
  });

  it("finds the capture behind a 500 that Stripe repeats for the key", async () => {
    api.breakAfterwards = true;
    expect(await provider().capture(captureOf("pm_card_visa"), { signal })).toMatchObject({
      kind: "unavailable",
    });
    expect(await provider().capture(captureOf("pm_card_visa"), { signal })).toMatchObject({
      kind: "unavailable",
    });
    const again = await provider().capture(captureOf("pm_card_visa", { askedBefore: true }), { signal });
    expect(again).toEqual({ kind: "captured", captureId: "pi_1" });
    expect(api.intents).toHaveLength(1);
  });

  it("takes the answer of something in front of Stripe for no answer", async () => {
    api.refuse = { status: 502, body: {} };
    for (const askedBefore of [false, true]) {
      const answer = await provider().capture(captureOf("pm_card_visa", { askedBefore }), { signal });
      expect(answer).toMatchObject({ kind: "unavailable" });
    }
    expect(await provider().refund(refundRequest, { signal })).toMatchObject({ kind: "unavailable" });
  });

  it("captures and refunds once even after Stripe has forgotten the keys", async () => {
    await provider().capture(captureOf("pm_card_visa"), { signal });
    api.forgetKeys();
    const again = await provider().capture(captureOf("pm_card_visa", { askedBefore: true }), { signal });
    expect(again).toEqual({ kind: "captured", captureId: "pi_1" });
    const refunded = { kind: "refunded", refundId: "re_1" };
    expect(await provider().refund(refundRequest, { signal })).toEqual(refunded);
    api.forgetKeys();
    expect(await provider().refund(refundRequest, { signal })).toEqual(refunded);
    expect([api.intents.length, api.refunds.length]).toEqual([1, 1]);
  });

  it("is unavailable, not declined, when one key is used for two requests, and says so loudly", async () => {
    await provider().capture(captureOf("pm_card_visa"), { signal });
    const other = await provider().capture(captureOf("pm_card_visa", { amountCents: 1n }), { signal });
    expect(other).toMatchObject({ kind: "unavailable", retryAfterMs: 10_000 });
    expect(errors).toHaveLength(1);
    expect(api.intents).toHaveLength(1);
  });

  it("declines no order because of a wrong API key, and shows neither key nor token", async () => {
    const answer = await provider({ secretKey: "sk_test_wrong" }).capture(captureOf("pm_card_visa"), {
      signal,
    });
    expect(answer).toMatchObject({ kind: "unavailable", retryAfterMs: 10_000 });
    expect(errors).toHaveLength(1);
    expect(JSON.stringify([answer, errors])).not.toMatch(/sk_test|pm_card/);
  });

  it("is unavailable when nobody answers, and when nobody listens", async () => {
    api.silent = true;
    const late = provider({ timeoutMs: 100 });
    expect(await late.capture(captureOf("pm_card_visa"), { signal })).toMatchObject({ kind: "unavailable" });
    expect(await late.refund(refundRequest, { signal })).toMatchObject({ kind: "unavailable" });
    const [port] = await freePorts(1);
    const nobody = provider({ apiBase: `http://127.0.0.1:${port}` });
    expect(await nobody.capture(captureOf("pm_card_visa"), { signal })).toMatchObject({
      kind: "unavailable",
      reason: "Stripe: StripeConnectionError",
    });
    expect(errors).toEqual([]);
  });

  it("refunds the whole capture once under its own key", async () => {
    await provider().capture(captureOf("pm_card_visa"), { signal });
    api.requests.length = 0;
    for (let n = 0; n < 2; n++) {
      expect(await provider().refund(refundRequest, { signal })).toEqual({
        kind: "refunded",
        refundId: "re_1",
      });
    }
    expect(api.requests.map(({ key }) => key)).toEqual(["o1/refund", "o1/refund"]);
    expect(Object.fromEntries(api.refunds[0]?.form ?? [])).toEqual({
      payment_intent: "pi_1",
      "metadata[order_id]": "o1",
    });
  });

  it("closes an intent that waits for the customer before it says declined, and says so again", async () => {
    const declined = { kind: "declined", code: "authentication_required" };
    expect(await provider().capture(captureOf("pm_authenticate"), { signal })).toEqual(declined);
    expect(api.intents).toMatchObject([{ status: "canceled" }]);
    for (const askedBefore of [false, true]) {
      const again = captureOf("pm_authenticate", { askedBefore });
      expect(await provider().capture(again, { signal })).toEqual(declined);
    }
    expect(api.intents).toHaveLength(1);
  });

  it("says captured when the customer was quicker than the closing", async () => {
    await provider().capture(captureOf("pm_authenticate"), { signal });
    for (const intent of api.intents) intent.status = "succeeded";
    const again = await provider().capture(captureOf("pm_authenticate"), { signal });
    expect(again).toEqual({ kind: "captured", captureId: "pi_1" });
  });

  it("is unavailable when another amount than the order's was captured, and says so loudly", async () => {
    await provider().capture(captureOf("pm_card_visa"), { signal });
    const other = captureOf("pm_card_visa", { amountCents: 1n, askedBefore: true, learnOnly: true });
    expect(await provider().capture(other, { signal })).toMatchObject({ kind: "unavailable" });
    expect(errors).toEqual([expect.stringContaining("another amount")]);
  });

  describe("on a request that Stripe refuses to begin with", () => {
    const request = captureOf("pm_card_visa", { currency: "KPW" });
    const refused = { kind: "refused", code: expect.stringContaining("StripeInvalidRequestError 400") };

    it("is refused, loudly, and comes again while there is time", async () => {
      const answer = await provider().capture(request, { signal });
      expect(answer).toEqual({ ...refused, retryAfterMs: 10_000 });
      expect(errors).toEqual([expect.stringContaining('"param":"currency"')]);
      expect(JSON.stringify([answer, errors])).not.toMatch(/sk_test|pm_card/);
    });

    it.each([true, false])("is refused when the order is over; the refusal is kept: %s", async (keeps) => {
      api.keepsRefusals = keeps;
      for (const answered of [true, false]) {
        api.forgetKeys();
        if (answered) await provider().capture(request, { signal });
        for (let n = 0; n < 2; n++) {
          const learn = { ...request, askedBefore: true, learnOnly: true };
          expect(await provider().capture(learn, { signal })).toMatchObject(refused);
        }
      }
      expect(api.intents).toEqual([]);
    });

    it.each([
      ["something in front of Stripe", 404, {}],
      ["a wrong API key", 401, { type: "invalid_request_error" }],
      ["a missing permission", 403, { type: "invalid_request_error" }],
      ["another use of the key", 400, { type: "idempotency_error" }],
      // The search is refused, not the capture.
      ["a search that is refused", 400, { type: "invalid_request_error" }],
    ])("learns nothing from %s", async (_, status, error) => {
      api.refuse = fault(status, error);
      const learn = captureOf("pm_card_visa", { askedBefore: true, learnOnly: true });
      expect(await provider().capture(learn, { signal })).toMatchObject({ kind: "unavailable" });
    });

    it("takes the refusal of something in front of Stripe for none", async () => {
      api.refuse = fault(404, {});
      const answer = await provider().capture(captureOf("pm_card_visa"), { signal });
      expect(answer).toMatchObject({ kind: "unavailable" });
    });
  });

  describe("asked to learn only", () => {
    const learn = captureOf("pm_card_visa", { askedBefore: true, learnOnly: true });

    it("captures nothing that was never asked for, nor lets a capture that is on its way", async () => {
      for (let n = 0; n < 2; n++) {
        const answer = await provider().capture(learn, { signal });
        expect(answer).toEqual({ kind: "refused", code: "never asked" });
      }
      expect(api.intents).toMatchObject([{ status: "canceled" }]);
      const late = await provider().capture(captureOf("pm_card_visa"), { signal });
      expect(late).toMatchObject({ kind: "unavailable" });
      expect(api.captures).toEqual([]);
    });

    it("closes what it left open when it died in between", async () => {
      await provider().capture(learn, { signal });
      for (const intent of api.intents) intent.status = "requires_confirmation";
      expect(await provider().capture(learn, { signal })).toMatchObject({ kind: "refused" });
      expect(api.intents).toMatchObject([{ status: "canceled" }]);
    });

    it.each([
      ["the search knows it", false],
      ["the search lags", true],
    ])("says captured of what was captured: %s", async (_, lags) => {
      await provider().capture(captureOf("pm_card_visa"), { signal });
      api.searchLags = lags;
      const captured = { kind: "captured", captureId: "pi_1" };
      expect(await provider().capture(learn, { signal })).toEqual(captured);
      expect(api.intents).toHaveLength(1);
    });

    it("does not take a 500 that is repeated for nothing captured", async () => {
      api.breakAfterwards = true;
      await provider().capture(captureOf("pm_card_visa"), { signal });
      api.searchLags = true;
      expect(await provider().capture(learn, { signal })).toMatchObject({ kind: "unavailable" });
      api.searchLags = false;
      expect(await provider().capture(learn, { signal })).toMatchObject({ kind: "captured" });
    });

    it.each([
      ["pm_declined", "insufficient_funds"],
      ["pm_unknown", "resource_missing"],
      ["pm_authenticate", "authentication_required"],
    ])("says declined of %s", async (token, code) => {
      await provider().capture(captureOf(token), { signal });
      api.searchLags = true;
      expect(await provider().capture({ ...learn, token }, { signal })).toEqual({ kind: "declined", code });
    });
  });

  describe("of a refund that is not through", () => {
    const poll = () => provider().refund(refundRequest, { signal });
    beforeEach(() => provider().capture(captureOf("pm_card_visa"), { signal }));

    it("looks again until it has succeeded, also after Stripe has forgotten the key", async () => {
      api.refundStatus = "pending";
      const pending = { kind: "unavailable", reason: "Stripe: the refund is pending", retryAfterMs: 60_000 };
      expect(await poll()).toEqual(pending);
      api.forgetKeys();
      expect(await poll()).toEqual(pending);
      for (const refund of api.refunds) refund.status = "succeeded";
      expect(await poll()).toEqual({ kind: "refunded", refundId: "re_1" });
      expect(api.refunds).toHaveLength(1);
      expect(errors).toEqual([]);
    });

    it("leaves one that failed to a person, and finds the one that was made instead", async () => {
      api.refundStatus = "pending";
      await poll();
      const [first] = api.refunds;
      if (first === undefined) throw new Error("no refund");
      first.status = "failed";
      expect(await poll()).toEqual({ kind: "refund_refused", code: "Stripe: the refund is failed" });
      expect(errors).toEqual([expect.stringContaining("a person has to settle it")]);
      api.refunds.unshift({ ...first, id: "re_manual", status: "succeeded" });
      expect(await poll()).toEqual({ kind: "refunded", refundId: "re_manual" });
    });

    it.each(["charge_disputed", "account_closed"])(
      "leaves to a person what is refused by %s",
      async (code) => {
        api.refuse = fault(400, { type: "invalid_request_error", code, message: "No" });
        expect(await poll()).toMatchObject({ kind: "refund_refused", code: expect.stringContaining(code) });
        expect(errors).toEqual([expect.stringContaining("a person has to settle it")]);
      },
    );

    it("does not take a part for the whole", async () => {
      api.refundStatus = "pending";
      await poll();
      for (const refund of api.refunds) Object.assign(refund, { status: "succeeded", amount: 1 });
      expect(await poll()).toEqual({ kind: "refund_refused", code: "Stripe: 1 of 2400 are refunded" });
    });
  });

  it("asks for nothing when the service is stopping", async () => {
    await expect(
      provider().capture(captureOf("pm_card_visa"), { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ name: "AbortError" });
    expect(api.requests).toEqual([]);
  });

  it("runs under Node's permission model with the network and the project's files only", async () => {
    const root = fileURLToPath(new URL("../..", import.meta.url));
    const script = `
      import { stripe } from ${JSON.stringify(new URL("stripe.ts", import.meta.url).href)};
      const log = { info() {}, warn() {}, error() {} };
      const provider = stripe({ secretKey: "${SECRET_KEY}", apiBase: "${apiBase}", log });
      const request = { orderId: "o1", amountCents: 5n, currency: "EUR", token: "pm_card_visa",
        idempotencyKey: "o1/capture", askedBefore: false, learnOnly: false };
      console.log(JSON.stringify(await provider.capture(request, { signal: new AbortController().signal })));
      process.exit();
    `;
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--disable-warning=ExperimentalWarning",
      "--permission",
      "--allow-net",
      `--allow-fs-read=${root}`,
      "--input-type=module",
      "--eval",
      script,
    ]);
    expect(JSON.parse(stdout)).toEqual({ kind: "captured", captureId: "pi_1" });
  });
});
