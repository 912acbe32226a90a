import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { createApp } from "./http.ts";
import { createMetrics } from "./metrics.ts";
import { operatorOnly } from "./operator.ts";

describe("operatorOnly()", () => {
  let done = 0;
  const app = createApp({ log: pino({ level: "silent" }), metrics: createMetrics("test") });
  app.post("/reset", operatorOnly("s3cret"), (context) => {
    done += 1;
    return context.json({ done });
  });
  const post = (headers: Record<string, string>) => app.request("/reset", { method: "POST", headers });

  it("lets the operator pass", async () => {
    const answer = await post({ authorization: "Bearer s3cret" });
    expect(await answer.json()).toEqual({ done: 1 });
  });

  it.each([
    ["nothing", {}],
    ["another token", { authorization: "Bearer wrong" }],
    ["a beginning of it", { authorization: "Bearer s3cre" }],
    ["more than it", { authorization: "Bearer s3cret " + "x" }],
    ["the bare token", { authorization: "s3cret" }],
    ["no token", { authorization: "Bearer " }],
    ["another scheme", { authorization: "Basic s3cret" }],
  ] as [string, Record<string, string>][])("answers 401 to %s, and does nothing", async (_name, headers) => {
    const before = done;
    const answer = await post(headers);
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toBe("Bearer");
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ type: "urn:problem:shop:unauthorized", status: 401 });
    expect(text).not.toContain("s3cret");
    expect(done).toBe(before);
  });
});
