import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { readBody } from "./body.ts";
import { createApp, requestDeadline } from "./http.ts";
import { createMetrics } from "./metrics.ts";

describe("createApp()", () => {
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const app = createApp({ log, metrics: createMetrics("test") });
  app.get("/fails", () => {
    throw new TypeError("Cannot read the innards of /srv/shop", { cause: new Error("deep inside") });
  });
  app.post("/echo", async (context) =>
    context.json(await readBody(context.req.raw, z.strictObject({ text: z.string() }))),
  );
  const post = (body: string, headers: Record<string, string> = {}) =>
    app.request("/echo", {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });

  it("says nothing of the inside when something is wrong there, and logs all of it", async () => {
    const answer = await app.request("/fails");
    expect(answer.status).toBe(500);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ type: "urn:problem:shop:internal", status: 500 });
    for (const secret of ["TypeError", "innards", "deep", "/srv", "_test.ts", "node_modules"]) {
      expect(text).not.toContain(secret);
    }
    expect(lines.join()).toContain("innards");
    expect(lines.join()).toContain("http_test.ts");
  });

  it("sends security headers with every answer", async () => {
    for (const answer of [
      await app.request("/none"),
      await app.request("/fails"),
      await post('{"text":"x"}'),
    ]) {
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(answer.headers.get("x-frame-options")).toBe("SAMEORIGIN");
      expect(answer.headers.get("strict-transport-security")).toMatch(/^max-age=\d+/);
      expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
      expect(answer.headers.get("x-powered-by")).toBeNull();
    }
  });

  it("refuses a body that is too large, whether or not its length was told", async () => {
    const large = JSON.stringify({ text: "x".repeat(64 * 1024) });
    const told = await post(large, { "content-length": String(large.length) });
    expect(told.status).toBe(413);
    const untold = await app.request("/echo", {
      method: "POST",
      body: new Blob([large]).stream(),
      headers: { "content-type": "application/json" },
      duplex: "half",
    } as RequestInit);
    expect(untold.status).toBe(413);
    expect(await untold.json()).toMatchObject({ type: "urn:problem:shop:body-too-large" });
    expect((await post(JSON.stringify({ text: "x".repeat(32 * 1024) }))).status).toBe(200);
  });

  it("refuses what is no JSON, is not said to be, or does not fit", async () => {
    expect((await post("{", {})).status).toBe(400);
    const invalidUtf8 = new Uint8Array([...'{"text":"'].map((c) => c.charCodeAt(0)).concat(0xff, 0x22, 0x7d));
    const headers = { "content-type": "application/json" };
    const answer = await app.request("/echo", { method: "POST", body: invalidUtf8, headers });
    expect(answer.status).toBe(400);
    expect((await post("{}", { "content-type": "text/plain" })).status).toBe(415);
    expect((await post('{"text":1}')).status).toBe(422);
  });
});

describe("requestDeadline()", () => {
  it("is shared by requests that come together, and by no more than a few", () => {
    const signals = Array.from({ length: 100 }, requestDeadline);
    expect(signals.some(({ aborted }) => aborted)).toBe(false);
    expect(new Set(signals).size).toBeGreaterThanOrEqual(4);
    expect(new Set(signals).size).toBeLessThan(20);
  });
});
