import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const SECRET_KEY = "sk_test_stand_in";

export interface Reply {
  status: number;
  body: object;
}

interface Made {
  id: string;
  status: string;
  amount: number;
  form: URLSearchParams;
}

/**
 * Stripe as far as this service knows it, after its documentation: the bearer key, form bodies, and idempotency keys,
 * under which the first answer is repeated, also a decline or a 500, until they are forgotten. For tests.
 */
export class StripeStandIn implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #replies = new Map<string, { form: string; reply: Reply }>();
  readonly intents: Made[] = [];
  readonly refunds: Made[] = [];
  readonly requests: { method: string; path: string; key: string | undefined }[] = [];
  /** Answers with this instead, before anything is done. */
  refuse: Reply | undefined;
  /** Does what is asked and then answers 500. */
  breakAfterwards = false;
  /** Takes requests and never answers. */
  silent = false;
  /** The search does not find what was made lately. */
  searchLags = false;
  /** Whether a currency is refused before the key is looked at, or after, so that the refusal is kept under the key. */
  keepsRefusals = false;
  /** Status of the refunds that are made. */
  refundStatus = "succeeded";

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Intents that took money. */
  get captures(): Made[] {
    return this.intents.filter(({ status }) => status === "succeeded");
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
    const cancels = /^\/v1\/payment_intents\/(\w+)\/cancel$/.exec(path)?.[1];
    if (cancels !== undefined) return this.#cancel(cancels);
    const key = request.headers["idempotency-key"]?.toString();
    if (key === undefined) return invalid({ message: "no key" });
    if (!this.keepsRefusals && isUnsupported(new URLSearchParams(input))) return unsupported;
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
      return { status: 200, body: { object: "list", data: found } };
    }
    const one = this.intents.find(({ id }) => path === `/v1/payment_intents/${id}`);
    if (one !== undefined) return { status: 200, body: one };
    const order = /^metadata\["order_id"\]:"(.*)"$/.exec(query.get("query") ?? "")?.[1];
    const found = this.intents.filter(({ form }) => form.get("metadata[order_id]") === order);
    return { status: 200, body: { object: "search_result", data: this.searchLags ? [] : found } };
  }

  #cancel(id: string): Reply {
    const intent = this.intents.find((intent) => intent.id === id);
    if (intent === undefined || ["succeeded", "canceled", "processing"].includes(intent.status)) {
      return invalid({ code: "payment_intent_unexpected_state", message: "You cannot cancel it" });
    }
    intent.status = "canceled";
    return { status: 200, body: { ...intent } };
  }

  #capture(text: string): Reply {
    const form = new URLSearchParams(text);
    if (isUnsupported(form)) return unsupported;
    const method = form.get("payment_method");
    if (method === "pm_unknown") {
      return invalid({
        code: "resource_missing",
        param: "payment_method",
        message: "No such PaymentMethod: 'pm_unknown'",
      });
    }
    const id = `pi_${this.intents.length + 1}`;
    const intent = { id, status: "succeeded", amount: Number(form.get("amount")), form };
    if (form.get("confirm") !== "true") intent.status = "requires_confirmation";
    else if (method === "pm_authenticate") intent.status = "requires_action";
    else if (method === "pm_declined") {
      return fault(402, {
        type: "card_error",
        code: "card_declined",
        decline_code: "insufficient_funds",
        message: "Declined",
      });
    }
    this.intents.push(intent);
    return { status: 200, body: { ...intent, object: "payment_intent" } };
  }

  #refund(text: string): Reply {
    const form = new URLSearchParams(text);
    const captureId = form.get("payment_intent");
    if (this.refunds.some((refund) => refund.form.get("payment_intent") === captureId)) {
      return invalid({ code: "charge_already_refunded", message: "Charge has already been refunded" });
    }
    const amount = this.intents.find((intent) => intent.id === captureId)?.amount ?? 0;
    const id = `re_${this.refunds.length + 1}`;
    const refund = { id, status: this.refundStatus, amount, form };
    this.refunds.push(refund);
    return { status: 200, body: { ...refund, object: "refund" } };
  }
}

export function fault(status: number, error: object): Reply {
  return { status, body: { error } };
}

function invalid(error: object): Reply {
  return fault(400, { type: "invalid_request_error", ...error });
}

function isUnsupported(form: URLSearchParams): boolean {
  return form.get("currency") === "kpw";
}

const unsupported = invalid({ param: "currency", message: "Invalid currency: kpw" });
