import { execFile } from "node:child_process";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Log } from "../../nats/mod.ts";
import { freePorts } from "../../test/support/mod.ts";
import type { CaptureRequest, RefundRequest } from "./provider.ts";
import { stripe } from "./stripe.ts";

const SECRET_KEY = "sk_test_stand_in";
const signal = new AbortController().signal;

interface Reply {
  status: number;
  body: object;
}

/**
 * Stripe as far as this service knows it, after its documentation: the bearer key, form bodies, and idempotency keys,
 * under which the first answer is repeated, also a decline or a 500, until they are forgotten.
 */
class StandIn implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #replies = new Map<string, { form: string; reply: Reply }>();
  readonly intents: { id: string; form: URLSearchParams }[] = [];
  readonly refunds: { id: string; form: URLSearchParams }[] = [];
  readonly requests: { method: string; path: string; key: string | undefined }[] = [];
  /** Answers with this instead, before anything is done. */
  refuse: Reply | undefined;
  /** Does what is asked and then answers 500. */
  breakAfterwards = false;
  /** Takes requests and never answers. */
  silent = false;

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  forgetKeys(): void {
    this.#replies.clear();
  }

  async [Symbol.asyncDispose]() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://stand-in");
    const key = request.headers["idempotency-key"]?.toString();
    this.requests.push({ method: request.method ?? "", path: pathname, key });
    if (this.silent) return;
    const { status, body } = this.#answer(request, pathname, request.method === "GET" ? searchParams : text);
    response.writeHead(status, { "content-type": "application/json", "request-id": "req_1" });
    response.end(JSON.stringify(body));
  }

  #answer(request: IncomingMessage, path: string, input: string | URLSearchParams): Reply {
    if (request.headers.authorization !== `Bearer ${SECRET_KEY}`) {
      return fault(401, { type: "invalid_request_error", message: "Invalid API Key provided" });
    }
    if (this.refuse !== undefined) return this.refuse;
    if (typeof input !== "string") return this.#find(path, input);
    const key = request.headers["idempotency-key"]?.toString();
    if (key === undefined) return fault(400, { type: "invalid_request_error", message: "no key" });
    const known = this.#replies.get(key);
    if (known !== undefined) {
      if (known.form === input) return known.reply;
      return fault(400, {
        type: "idempotency_error",
        message: "Keys can only be used with the same request",
      });
    }
    const done = path === "/v1/payment_intents" ? this.#capture(input) : this.#refund(input);
    const reply = this.breakAfterwards ? fault(500, { type: "api_error" }) : done;
    this.#replies.set(key, { form: input, reply });
    return reply;
  }

  #find(path: string, query: URLSearchParams): Reply {
    if (path === "/v1/refunds") {
      const found = this.refunds.filter(
        ({ form }) => form.get("payment_intent") === query.get("payment_intent"),
      );
      return { status: 200, body: { object: "list", data: found.map(({ id }) => ({ id })) } };
    }
    const order = /^status:"succeeded" AND metadata\["order_id"\]:"(.*)"$/.exec(
      query.get("query") ?? "",
    )?.[1];
    const found = this.intents.filter(({ form }) => form.get("metadata[order_id]") === order);
    return { status: 200, body: { object: "search_result", data: found.map(({ id }) => ({ id })) } };
  }

  #capture(text: string): Reply {
    const form = new URLSearchParams(text);
    const method = form.get("payment_method");
    if (method === "pm_declined") {
      return fault(402, {
        type: "card_error",
        code: "card_declined",
        decline_code: "insufficient_funds",
        message: "Declined",
      });
    }
    if (method === "pm_unknown") {
      return fault(400, {
        type: "invalid_request_error",
        code: "resource_missing",
        param: "payment_method",
        message: "No such PaymentMethod: 'pm_unknown'",
      });
    }
    const id = `pi_${this.intents.length + 1}`;
    if (method === "pm_authenticate") return { status: 200, body: { id, status: "requires_action" } };
    this.intents.push({ id, form });
    return { status: 200, body: { id, object: "payment_intent", status: "succeeded" } };
  }

  #refund(text: string): Reply {
    const form = new URLSearchParams(text);
    if (this.refunds.some((refund) => refund.form.get("payment_intent") === form.get("payment_intent"))) {
      return fault(400, {
        type: "invalid_request_error",
        code: "charge_already_refunded",
        message: "Charge has already been refunded",
      });
    }
    const id = `re_${this.refunds.length + 1}`;
    this.refunds.push({ id, form });
    return { status: 200, body: { id, object: "refund", status: "succeeded" } };
  }
}

function fault(status: number, error: object): Reply {
  return { status, body: { error } };
}

function captureOf(token: string, options: Partial<CaptureRequest> = {}): CaptureRequest {
  return {
    orderId: "o1",
    amountCents: 2_400n,
    currency: "EUR",
    token,
    idempotencyKey: "o1/capture",
    askedBefore: false,
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
  let api: StandIn;
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
    api = new StandIn();
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
    expect(other).toMatchObject({ kind: "unavailable", retryAfterMs: 30_000 });
    expect(errors).toHaveLength(1);
    expect(api.intents).toHaveLength(1);
  });

  it("declines no order because of a wrong API key, and shows neither key nor token", async () => {
    const answer = await provider({ secretKey: "sk_test_wrong" }).capture(captureOf("pm_card_visa"), {
      signal,
    });
    expect(answer).toMatchObject({ kind: "unavailable", retryAfterMs: 30_000 });
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
        idempotencyKey: "o1/capture", askedBefore: false };
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
