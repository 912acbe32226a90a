import { request } from "node:http";
import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { until } from "../test/support/until.ts";
import { pulled } from "./pulled.ts";
import { serve } from "./serve.ts";

const NEVER_MS = 600_000;

/** One text, then nothing until it is told to end; counts what it holds. */
function source() {
  const held = { places: 1, opened: 0, closed: 0 };
  async function* texts(signal: AbortSignal): AsyncGenerator<string> {
    held.opened += 1;
    try {
      yield "first";
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener("abort", () => resolve(), { once: true });
      });
    } finally {
      held.closed += 1;
    }
  }
  const onEnd = () => {
    held.places -= 1;
  };
  return { held, texts, onEnd };
}

const running = { places: 1, opened: 1, closed: 0 };
const over = { places: 0, opened: 1, closed: 1 };
const unread = { places: 0, opened: 0, closed: 0 };

describe("pulled()", () => {
  it("ends when its reader cancels it, in the middle of a read", async () => {
    const { held, texts, onEnd } = source();
    const reader = pulled(texts, {
      signal: new AbortController().signal,
      maxMs: NEVER_MS,
      onEnd,
    }).getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first");
    const second = reader.read();
    expect(held).toEqual(running);
    await reader.cancel();
    expect((await second).done).toBe(true);
    await until("the end", () => held.closed > 0);
    expect(held).toEqual(over);
  });

  it("ends when its signal aborts, whether somebody waits for more or not", async () => {
    for (const waits of [true, false]) {
      const { held, texts, onEnd } = source();
      const gone = new AbortController();
      const reader = pulled(texts, { signal: gone.signal, maxMs: NEVER_MS, onEnd }).getReader();
      await reader.read();
      const second = waits ? reader.read() : undefined;
      gone.abort();
      expect((await (second ?? reader.read())).done).toBe(true);
      expect(held).toEqual(over);
    }
  });

  it("gives back its place without ever being read: aborted before, aborted after, or too old", async () => {
    const gone = new AbortController();
    const after = source();
    pulled(after.texts, { signal: gone.signal, maxMs: NEVER_MS, onEnd: after.onEnd });
    gone.abort();
    expect(after.held).toEqual(unread);
    const before = source();
    pulled(before.texts, { signal: gone.signal, maxMs: NEVER_MS, onEnd: before.onEnd });
    expect(before.held).toEqual(unread);
    const old = source();
    pulled(old.texts, { signal: new AbortController().signal, maxMs: 1, onEnd: old.onEnd });
    await until("its time to be over", () => old.held.places === 0);
    expect(old.held).toEqual(unread);
  });

  it("ends when the client's connection is closed", async () => {
    const { held, texts, onEnd } = source();
    const app = new Hono().get("/", ({ req }) => {
      return new Response(pulled(texts, { signal: req.raw.signal, maxMs: NEVER_MS, onEnd }));
    });
    await using server = await serve(app, {
      host: "127.0.0.1",
      port: 0,
      portVariable: "TEST_PORT",
      service: "test",
    });
    const client = request(server.url).end();
    // It is this end that breaks the connection off.
    client.on("error", () => undefined);
    client.once("response", (response) => response.once("data", () => client.destroy()));
    await until("the end", () => held.closed > 0);
    expect(held).toEqual(over);
  });
});
