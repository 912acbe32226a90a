import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { Problem, problemResponse } from "./problem.ts";

describe("problemResponse()", () => {
  it("is problem details as RFC 9457 has them", async () => {
    const problem = new Problem(409, "too-late", {
      title: "Too late",
      detail: "Order o1 is on its way",
      extra: { state: "fulfilling" },
      headers: { "retry-after": "1" },
    });
    const app = new Hono().get("/orders/:id", (context) => problemResponse(context, problem));
    const answer = await app.request("/orders/o1?secret=1");
    expect(answer.status).toBe(409);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(await answer.json()).toEqual({
      type: "urn:problem:shop:too-late",
      title: "Too late",
      status: 409,
      detail: "Order o1 is on its way",
      instance: "/orders/o1",
      state: "fulfilling",
    });
  });
});
