import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { Agent, request } from "undici";

/** A service that does not answer within this is down, as far as its caller is concerned. */
const ANSWER_WITHIN_MS = 5_000;

/** Connections are kept open, as many as there are requests at a time. */
const agent = new Agent({ headersTimeout: ANSWER_WITHIN_MS, bodyTimeout: ANSWER_WITHIN_MS });

/** Another service did not answer in time, or with an error. */
export class CallError extends Error {
  override readonly name = "CallError";
}

/** The base of a service's HTTP interface. */
export function createService(): Hono {
  const app = new Hono();
  app.get("/healthz", (context) => context.text("ok"));
  return app;
}

/** Serves on the port in PORT, until whoever started this process is gone. */
export function start(app: Hono): void {
  process.once("disconnect", () => process.exit());
  serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: "127.0.0.1" });
}

/**
 * Posts JSON to another service and resolves to its answer. Nothing is tried again.
 *
 * @param service Its base URL is in the variable of its name: `INVENTORY_URL`.
 * @throws {CallError} If it does not answer in time, or with an error.
 */
export async function call<Answer>(service: string, path: string, body: unknown): Promise<Answer> {
  const url = `${process.env[`${service.toUpperCase()}_URL`]}${path}`;
  try {
    const { statusCode, body: answer } = await request(url, {
      dispatcher: agent,
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (statusCode === 200) return (await answer.json()) as Answer;
    await answer.dump();
    throw new CallError(`${service} answered with ${statusCode}`);
  } catch (cause) {
    if (cause instanceof CallError) throw cause;
    throw new CallError(`${service} did not answer`, { cause });
  }
}
