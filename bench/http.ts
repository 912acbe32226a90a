import { type Dispatcher, Pool } from "undici";

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Sends JSON to one path of one server, over as many connections as there are requests at a time. */
export interface Poster extends AsyncDisposable {
  /** @param key Of the `Idempotency-Key` header. */
  post(body: Buffer, key: string): Promise<Answer>;
}

/** A server that hangs is noticed after this. */
const ANSWER_WITHIN_MS = 60_000;

/**
 * As cheap as an HTTP client gets here: the load generator shares its cores with what it measures. No streams, no
 * fetch, no parsing.
 */
export function openPoster(base: string, path: string): Poster {
  const pool = new Pool(base, {
    pipelining: 1,
    headersTimeout: ANSWER_WITHIN_MS,
    bodyTimeout: ANSWER_WITHIN_MS,
  });
  return {
    post: (body, key) =>
      new Promise((resolve, reject) => {
        const headers = ["content-type", "application/json", "idempotency-key", key];
        pool.dispatch({ method: "POST", path, headers, body }, answerHandler(resolve, reject));
      }),
    [Symbol.asyncDispose]: () => pool.destroy(),
  };
}

function answerHandler(
  resolve: (answer: Answer) => void,
  reject: (cause: Error) => void,
): Dispatcher.DispatchHandler {
  let status = 0;
  let body = "";
  return {
    onRequestStart: () => undefined,
    onResponseStart: (_controller, statusCode) => {
      status = statusCode;
    },
    onResponseData: (_controller, chunk) => {
      // All that is sent here is ASCII, so that no character is split between two chunks.
      body += chunk.toString("latin1");
    },
    onResponseEnd: () => resolve({ status, body }),
    onResponseError: (_controller, cause) => reject(cause),
  };
}
