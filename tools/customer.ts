import { setTimeout as sleep } from "node:timers/promises";

/** What a customer's client sends: the body of `POST /orders`, or no body. */
export interface CustomerRequest {
  /** The Idempotency-Key. */
  readonly key: string;
  readonly body?: object | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the request, whose outcome is not known then. */
  readonly signal?: AbortSignal | undefined;
}

export interface CustomerAnswer {
  /** 0 if there was no answer. */
  readonly status: number;
  readonly answer: { order_id?: string; detail?: string };
  readonly type: string;
  readonly replayed: boolean;
}

/** A client gives up after this and sends the same request again. The shop answers within 10 s if it runs. */
const CLIENT_TIMEOUT_MS = 12_000;
const RETRY_MS = 150;

/** Sends one request. */
export async function post(
  url: string,
  path: string,
  { key, body, headers, signal }: CustomerRequest,
): Promise<CustomerAnswer> {
  const timeout = AbortSignal.timeout(CLIENT_TIMEOUT_MS);
  try {
    const response = await fetch(`${url}${path}`, {
      method: "POST",
      headers: { ...headers, "idempotency-key": key, ...(body && { "content-type": "application/json" }) },
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      answer: text === "" ? {} : JSON.parse(text),
      type: response.headers.get("content-type") ?? "",
      replayed: response.headers.get("idempotency-replayed") === "true",
    };
  } catch (cause) {
    // A process that dies breaks its connections, one that hangs does not answer: both are what a client sees.
    if (!(cause instanceof TypeError || cause instanceof DOMException)) throw cause;
    return { status: 0, answer: {}, type: "", replayed: false };
  }
}

/**
 * Sends a request as a client does that wants it: the same one until it is answered with something other than "try again", or
 * `patienceMs` have gone by, or the signal aborts. Resolves with the last answer.
 *
 * @param options.url Asked before each try: it may change. `options.onTry` is told what each came to.
 */
export async function insist(
  path: string,
  request: CustomerRequest,
  options: { url: () => string; patienceMs: number; onTry?: (answer: CustomerAnswer) => void },
): Promise<CustomerAnswer> {
  const { url, patienceMs, onTry } = options;
  const since = performance.now();
  for (;;) {
    const answer = await post(url(), path, request);
    onTry?.(answer);
    if (!isTryAgain(answer, request)) return answer;
    if (performance.now() - since > patienceMs || request.signal?.aborted) return answer;
    await sleep(RETRY_MS);
  }
}

/** Too late to be cancelled is an answer, which has no body; a request in flight is not. */
export function isTryAgain({ status }: CustomerAnswer, { body }: Pick<CustomerRequest, "body">): boolean {
  return status === 0 || status >= 500 || (status === 409 && body !== undefined);
}
