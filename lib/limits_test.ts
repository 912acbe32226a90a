import { pino } from "pino";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createApp } from "./http.ts";
import { limitRate, type RateLimit } from "./limits.ts";
import { createMetrics } from "./metrics.ts";
import { serve } from "./serve.ts";

function newApp(options: { maxInFlight?: number } = {}) {
  return createApp({ log: pino({ level: "silent" }), metrics: createMetrics("test"), ...options });
}

describe("limitInFlight()", () => {
  it("answers 503 beyond the limit, then takes requests again, and always tells how the process is", async () => {
    const app = newApp({ maxInFlight: 2 });
    let gate = Promise.withResolvers<void>();
    app.get("/slow", async (context) => gate.promise.then(() => context.text("done")));
    app.get("/fails", () => {
      throw new Error("a secret of the inside");
    });
    app.get("/healthz", (context) => context.text("ok"));

    const waiting = [app.request("/slow"), app.request("/slow")];
    const refused = await app.request("/slow");
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(await refused.json()).toMatchObject({ type: "urn:problem:shop:overloaded", status: 503 });
    expect((await app.request("/healthz")).status).toBe(200);
    gate.resolve();
    for (const answer of await Promise.all(waiting)) expect(answer.status).toBe(200);

    // A failed request gives its place back.
    for (let n = 0; n < 3; n++) expect((await app.request("/fails")).status).toBe(500);
    gate = Promise.withResolvers();
    const again = [app.request("/slow"), app.request("/slow")];
    expect((await app.request("/slow")).status).toBe(503);
    gate.resolve();
    await Promise.all(again);
  });
});

describe("limitRate()", () => {
  afterEach(() => void vi.useRealTimers());

  function limited(limit: RateLimit) {
    vi.useFakeTimers();
    const app = newApp();
    app.use(limitRate(limit));
    app.get("/", (context) => context.text("done"));
    return (from: string, headers: Record<string, string> = {}) =>
      app.request("/", { headers }, { incoming: { socket: { remoteAddress: from } } });
  }

  it("lets a burst pass, answers 429 with the time to wait, and lets pass again after it", async () => {
    const get = limited({ perSecond: 2, burst: 6 });
    for (let n = 0; n < 6; n++) expect((await get("10.0.0.1")).status).toBe(200);
    const refused = await get("10.0.0.1");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("3");
    expect(await refused.json()).toMatchObject({ type: "urn:problem:shop:too-many-requests", status: 429 });
    vi.advanceTimersByTime(3_000);
    expect((await get("10.0.0.1")).status).toBe(200);
  });

  it("knows a client by the address of its connection", async () => {
    const app = newApp();
    app.use(limitRate({ perSecond: 0.01, burst: 1 }));
    app.get("/", (context) => context.text("done"));
    await using server = await serve(app, {
      host: "127.0.0.1",
      port: 0,
      portVariable: "TEST_PORT",
      service: "test",
    });
    expect((await fetch(server.url)).status).toBe(200);
    expect((await fetch(server.url)).status).toBe(429);
  });

  it("counts each client for itself", async () => {
    const get = limited({ perSecond: 1, burst: 1 });
    expect((await get("10.0.0.1")).status).toBe(200);
    expect((await get("10.0.0.1")).status).toBe(429);
    expect((await get("10.0.0.2")).status).toBe(200);
  });

  it("believes X-Forwarded-For as far as its proxies wrote it", async () => {
    const own = limited({ perSecond: 1, burst: 1 });
    expect((await own("10.0.0.1", { "x-forwarded-for": "1.1.1.1" })).status).toBe(200);
    expect((await own("10.0.0.1", { "x-forwarded-for": "2.2.2.2" })).status).toBe(429);

    const behind = limited({ perSecond: 1, burst: 1, trustedProxies: 1 });
    expect((await behind("10.0.0.1", { "x-forwarded-for": "9.9.9.9, 1.1.1.1" })).status).toBe(200);
    expect((await behind("10.0.0.1", { "x-forwarded-for": "8.8.8.8, 1.1.1.1" })).status).toBe(429);
    expect((await behind("10.0.0.1", { "x-forwarded-for": "9.9.9.9, 2.2.2.2" })).status).toBe(200);
  });
});
