import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AnswerCheck,
  checkOf,
  flaggedAddress,
  openShop,
  operator,
  shopServices,
  type TestShop,
} from "./support/mod.ts";

let shop: TestShop;
/** By service. */
const checks = new Map<string, AnswerCheck>();
beforeAll(async () => {
  shop = await openShop();
});
afterAll(() => shop?.[Symbol.asyncDispose]());

/** Asks and compares the answer with what the service says of itself. */
async function ask(
  service: string,
  path: string,
  {
    method = "GET",
    body,
    headers = {},
  }: { method?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<number> {
  const answer = await fetch(`${shop.shop.url(service)}${path}`, {
    method,
    headers: { ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const { pathname } = new URL(answer.url);
  await checks.get(service)?.({ method, path: pathname }, answer);
  await answer.body?.cancel();
  return answer.status;
}

describe("GET /openapi.json", () => {
  // Under the permission model, as they run everywhere.
  it.each(shopServices)(
    "describes the process of $name, which answers it without a token",
    async ({ name }) => {
      const { status, body } = await shop.call(name, "/openapi.json");
      expect(status).toBe(200);
      expect(await new Validator().validate(structuredClone(body))).toEqual({ valid: true });
      checks.set(name, checkOf(body as Parameters<typeof checkOf>[0]));
      for (const path of ["/healthz", "/readyz", "/metrics", "/openapi.json"]) {
        expect(Object.keys(body.paths as object)).toContain(path);
        expect([200, 503]).toContain(await ask(name, path));
      }
    },
  );

  it("describes what a shop answers about its orders", async () => {
    const [id, declined, flagged] = await Promise.all([
      shop.place(),
      shop.place({ payment_token: "tok_declined" }),
      shop.place({ shipping_address: flaggedAddress }),
    ]);
    await shop.reaches(flagged, "in_review");
    const decision = { decision: "reject", reviewer: "eve", note: "nobody there" };
    const decided = { method: "POST", body: decision, headers: operator };
    expect(await ask("fraud", "/reviews", { headers: operator })).toBe(200);
    expect(await ask("fraud", `/reviews/${flagged}/decision`, decided)).toBe(200);
    expect(await ask("coordinator", `/checkouts/${flagged}`)).toBe(200);
    for (const order of [id, declined, flagged]) {
      await shop.ends(order);
      for (const [service, path] of [
        ["order", `/orders/${order}`],
        ["order", `/orders/${order}/events`],
        ["order", `/orders/${order}/timeline`],
        ["coordinator", `/checkouts/${order}`],
        ["notification", `/mails/${order}`],
      ] as const) {
        expect([path, await ask(service, path)]).toEqual([path, 200]);
      }
      expect(await ask("fraud", `/reviews/${order}`, { headers: operator })).toBe(200);
    }
    expect(await ask("payment", `/payments/${id}`)).toBe(200);
    expect(await ask("payment", `/payments/${declined}`)).toBe(200);
    expect(await ask("fulfillment", `/shipments/${id}`)).toBe(200);
    expect(await ask("inventory", "/stock/mug")).toBe(200);
    for (const query of ["", "?state=completed&limit=1", "?state=cancelled"]) {
      expect(await ask("order", `/orders${query}`)).toBe(200);
    }
  });

  it("describes what they refuse", async () => {
    expect(await ask("order", "/orders/ord_none")).toBe(404);
    expect(await ask("order", "/orders?limit=0")).toBe(400);
    expect(await ask("order", "/orders", { method: "POST", body: {} })).toBe(400);
    const headers = { "idempotency-key": "one" };
    expect(await ask("order", "/orders", { method: "POST", body: {}, headers })).toBe(422);
    expect(await ask("inventory", "/stock/mug", { method: "PUT", body: {} })).toBe(401);
    expect(await ask("monitor", "/dead-letters")).toBe(401);
    expect(await ask("registry", "/subjects/none/versions")).toBe(404);
  });

  it("describes what the registry and the monitor answer", async () => {
    expect(await ask("monitor", "/dead-letters", { headers: operator })).toBe(200);
    const latest = await fetch(`${shop.shop.url("registry")}/subjects/order.created/versions/latest`);
    const { id } = (await latest.json()) as { id: number };
    for (const path of [
      "/subjects",
      "/config",
      "/mode/order.created?defaultToGlobal=true",
      `/schemas/ids/${id}`,
    ]) {
      expect([path, await ask("registry", path)]).toEqual([path, 200]);
    }
    for (const path of ["", "/latest", "/latest/schema", "/latest/referencedby"]) {
      expect(await ask("registry", `/subjects/order.created/versions${path}`)).toBe(200);
    }
  });
});
