import { Hono } from "hono";
import type { Metrics } from "./metrics.ts";

/**
 * What every service answers: `/healthz` as long as the process serves, `/readyz` with 200 or 503 and the checks by
 * name, `/metrics` in Prometheus' text format.
 */
export function healthRoutes(metrics: Metrics, checks: Readonly<Record<string, () => boolean>>): Hono {
  return new Hono()
    .get("/healthz", (context) => context.json({ status: "ok" }))
    .get("/readyz", (context) => {
      const results = Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, check()]));
      const ready = Object.values(results).every(Boolean);
      return context.json({ status: ready ? "ready" : "not ready", checks: results }, ready ? 200 : 503);
    })
    .get("/metrics", async (context) =>
      context.text(await metrics.registry.metrics(), 200, { "content-type": metrics.registry.contentType }),
    );
}
