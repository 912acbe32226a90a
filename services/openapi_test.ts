import { Validator } from "@seriousme/openapi-schema-validator";
import type { Hono } from "hono";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { createApp, createMetrics, describeApi, type Env, healthRoutes, openApiRoutes } from "../lib/mod.ts";
import { services } from "./mod.ts";

/** The service's HTTP interface on nothing: what its routes rest on is there once they are called, and none is. */
async function appOf(name: string): Promise<Hono<Env>> {
  const { routes } = await import(`./${name}/app.ts`);
  const metrics = createMetrics(name);
  const app = createApp({ log: pino({ level: "silent" }), metrics });
  routes(app, {
    operatorToken: "operator",
    registryToken: "registrant",
    rateLimit: { perSecond: 1, burst: 1 },
    connection: { status: () => [] },
  });
  app.route("/", healthRoutes(metrics, {}));
  app.route("/", openApiRoutes(app, name));
  return app;
}

describe.each(services)("GET /openapi.json of $name", async ({ name }) => {
  const app = await appOf(name);
  const document = await describeApi(app, name);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const { operationId, security } = operation as { operationId: string; security?: object[] };
      return { method: method.toUpperCase(), path, operationId, security };
    }),
  );

  it("is OpenAPI 3.1 by the rules of a validator", async () => {
    expect(await new Validator().validate(JSON.parse(JSON.stringify(document)))).toEqual({ valid: true });
    expect(document.openapi).toMatch(/^3\.1\./);
  });

  it("has every route of the service, and nothing else", () => {
    // "ALL" is what a middleware is entered under.
    const routed = app.routes.filter(({ method }) => method !== "ALL");
    const expected = routed.map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    expect(operations.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(
      [...new Set(expected)].sort(),
    );
  });

  it("names each operation once", () => {
    const ids = operations.map(({ operationId }) => operationId);
    expect(ids).toEqual([...new Set(ids)]);
  });

  it("says of those operations that they want a token that answer 401 without one", async () => {
    for (const { method, path, security } of operations) {
      if (security === undefined) continue;
      const answer = await app.request(path, { method });
      expect([method, path, answer.status]).toEqual([method, path, 401]);
    }
  });
});
