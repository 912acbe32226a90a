import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { healthRoutes } from "./health.ts";
import { createApp } from "./http.ts";
import { createMetrics } from "./metrics.ts";

describe("healthRoutes()", () => {
  const metrics = createMetrics("test");
  const up = { nats: true, consumers: false };
  const app = createApp({ log: pino({ level: "silent" }), metrics });
  app.get("/orders/:id", (context) => context.json({}));
  app.route("/", healthRoutes(metrics, { nats: () => up.nats, consumers: () => up.consumers }));

  it("/healthz is 200 whatever the checks say", async () => {
    const answer = await app.request("/healthz");
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({ status: "ok" });
  });

  it("/readyz asks every check each time, and names them", async () => {
    const unready = await app.request("/readyz");
    expect(unready.status).toBe(503);
    expect(await unready.json()).toEqual({
      status: "not ready",
      checks: { nats: true, consumers: false },
    });
    up.consumers = true;
    const ready = await app.request("/readyz");
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ status: "ready", checks: { nats: true, consumers: true } });
    up.nats = false;
    expect((await app.request("/readyz")).status).toBe(503);
  });

  it("/metrics is Prometheus' text, with the route and not the path of a request", async () => {
    await app.request("/orders/ord_1");
    await app.request("/orders/ord_2");
    const answer = await app.request("/metrics");
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await answer.text();
    expect(text).toMatch(
      /^shop_http_request_duration_seconds_count\{(?=.*service="test")(?=.*route="\/orders\/:id")(?=.*status="200").*\} 2$/m,
    );
    expect(text).not.toContain("ord_1");
    expect(text).toMatch(/^process_cpu_seconds_total/m);
    expect(text).toMatch(/^shop_commit_messages_count/m);
  });
});
