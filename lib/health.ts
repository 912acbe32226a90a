import { Hono } from "hono";
import { z } from "zod";
import type { Metrics } from "./metrics.ts";
import { described, type Operation } from "./operation.ts";

const getHealth = {
  id: "getHealth",
  summary: "Whether the process serves",
  answers: { 200: z.object({ status: z.literal("ok") }) },
  errors: "own",
} satisfies Operation;

const readiness = z.record(z.string(), z.boolean()).meta({ description: "Each check by its name" });
const getReadiness = {
  id: "getReadiness",
  summary: "Whether the service does its work",
  answers: {
    200: z.object({ status: z.literal("ready"), checks: readiness }),
    503: z.object({ status: z.literal("not ready"), checks: readiness }),
  },
  errors: "own",
} satisfies Operation;

const getMetrics = {
  id: "getMetrics",
  summary: "Figures in Prometheus' text format",
  answers: { 200: { schema: z.string(), types: ["text/plain"] } },
  errors: "own",
} satisfies Operation;

/**
 * What every service answers: `/healthz` as long as the process serves, `/readyz` with 200 or 503 and the checks by
 * name, `/metrics` in Prometheus' text format.
 */
export function healthRoutes(metrics: Metrics, checks: Readonly<Record<string, () => boolean>>): Hono {
  return new Hono()
    .get("/healthz", described(getHealth), (context) => context.json({ status: "ok" }))
    .get("/readyz", described(getReadiness), (context) => {
      const results = Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, check()]));
      const ready = Object.values(results).every(Boolean);
      return context.json({ status: ready ? "ready" : "not ready", checks: results }, ready ? 200 : 503);
    })
    .get("/metrics", described(getMetrics), async (context) =>
      context.text(await metrics.registry.metrics(), 200, { "content-type": metrics.registry.contentType }),
    );
}
