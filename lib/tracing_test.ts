import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Logger, pino } from "pino";
import { afterEach, describe, expect, it, vi } from "vitest";
import { isSampled, newTrace, type TraceContext, traceId } from "../nats/mod.ts";
import { freePorts, startOtlpReceiver } from "../test/support/mod.ts";
import { common, type Environment, readConfig } from "./config.ts";
import { createApp } from "./http.ts";
import { createMetrics } from "./metrics.ts";
import { openTracing, type Tracing } from "./tracing.ts";

const needed = { NATS_URL: "nats://127.0.0.1:4222", OPERATOR_TOKEN: "x" };
const sampled: TraceContext = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };

/** As a service opens it: the SDK reads the process's environment by itself. */
async function open(variables: Record<string, string>, log: Logger = pino({ level: "silent" })) {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  const environment: Environment = { ...needed, ...variables };
  return openTracing("payment", { config: readConfig("payment", common, environment), log });
}

async function opened(variables: Record<string, string>, log?: Logger): Promise<Tracing> {
  const tracing = await open(variables, log);
  if (tracing === undefined) throw new Error("Nothing is recorded");
  return tracing;
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("openTracing()", () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1";

  it("records nothing where no endpoint is set, or it is switched off", async () => {
    expect(await open({})).toBeUndefined();
    expect(await open({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: "TRUE" })).toBeUndefined();
    expect(await open({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER: "none" })).toBeUndefined();
  });

  it("loads none of the SDK before it is needed", async () => {
    const script = `
      import { createRequire } from "node:module";
      await import("./lib/mod.ts");
      const loaded = Object.keys(createRequire(import.meta.url).cache);
      console.log(loaded.filter((path) => /@opentelemetry.(sdk|otlp|exporter)/.test(path)).length, loaded.length > 0);`;
    const cwd = new URL("..", import.meta.url);
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      cwd,
    });
    expect(stdout.trim()).toBe("0 true");
  });

  it("sends spans with the service's name, or what OpenTelemetry's variables say", async () => {
    await using receiver = await startOtlpReceiver();
    const endpoint = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces` };
    await (async () => {
      await using tracing = await opened(endpoint);
      tracing.enter("GET", { parent: undefined, attributes: {} }).end();
    })();
    await (async () => {
      await using tracing = await opened({ ...endpoint, OTEL_SERVICE_NAME: "till" });
      const span = tracing.start("ring", {
        kind: "client",
        parent: sampled,
        links: [sampled],
        attributes: { n: 1 },
      });
      span.set({ open: true, none: undefined });
      span.fail("TypeError", "jammed");
      span.end();
    })();
    expect(receiver.spans).toMatchObject([
      { service: "payment", name: "GET", kind: "server", parentId: undefined, error: false },
      {
        service: "till",
        name: "ring",
        kind: "client",
        traceId: traceId(sampled),
        parentId: "b7ad6b7169203331",
        attributes: { n: 1, open: true, "error.type": "TypeError" },
        links: [{ traceId: traceId(sampled), spanId: "b7ad6b7169203331" }],
        error: true,
      },
    ]);
  });

  it("decides about what comes in by the sampler, and hands the decision on with the vendors' data", async () => {
    const enter = async (sampler: string, parent: TraceContext | undefined) => {
      await using tracing = await opened({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER: sampler });
      return tracing.enter("GET", { parent, attributes: {} }).trace;
    };
    expect(isSampled(await enter("parentbased_always_on", undefined))).toBe(true);
    expect(isSampled(await enter("parentbased_always_on", newTrace()))).toBe(false);
    expect(isSampled(await enter("parentbased_always_off", undefined))).toBe(false);
    const followed = await enter("parentbased_always_off", { ...sampled, tracestate: "vendor=1" });
    expect(isSampled(followed)).toBe(true);
    expect(followed.tracestate).toBe("vendor=1");
    expect(isSampled(await enter("always_off", sampled))).toBe(false);
  });

  it.each(["refuses connections", "answers 503", "never answers"])(
    "stops in time and says so in one line when the endpoint %s",
    async (how) => {
      await using receiver = await startOtlpReceiver();
      if (how === "answers 503") receiver.fail("unavailable");
      if (how === "never answers") receiver.fail("silent");
      const [closed] = await freePorts(1);
      const lines: string[] = [];
      const log = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
      const tracing = await opened(
        {
          OTEL_EXPORTER_OTLP_ENDPOINT:
            how === "refuses connections" ? `http://127.0.0.1:${closed}` : receiver.url,
          OTEL_EXPORTER_OTLP_TIMEOUT: "300",
          OTEL_BSP_SCHEDULE_DELAY: "20",
        },
        log,
      );
      const many = () => {
        for (let n = 0; n < 10_000; n++) {
          tracing.start("work", { kind: "internal", parent: sampled, attributes: { n } }).end();
        }
      };
      many();
      await vi.waitUntil(() => lines.length > 0, { timeout: 20_000 });
      many();
      const began = performance.now();
      await tracing[Symbol.asyncDispose]();
      // Without a timeout of its own, what is under way would be waited for for half a minute.
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain("traces are not sent as they should be");
    },
  );
});

describe("createApp() with traces", () => {
  it("names a request by its route, says what was answered, and leaves out who asks how the process is", async () => {
    await using receiver = await startOtlpReceiver();
    await (async () => {
      await using tracing = await opened({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
      const app = createApp({ log: pino({ level: "silent" }), metrics: createMetrics("test"), tracing });
      app.get("/orders/:id", (context) => context.text(context.get("trace").traceparent));
      app.get("/broken", () => {
        throw new TypeError("Cannot");
      });
      app.get("/healthz", (context) => context.text("ok"));
      const answer = await app.request("/orders/1", { headers: { traceparent: sampled.traceparent } });
      expect(await answer.text()).toMatch(new RegExp(`^00-${traceId(sampled)}-[0-9a-f]{16}-01$`));
      for (const path of ["/broken", "/nowhere", "/healthz"]) await app.request(path);
    })();
    expect(receiver.spans.map(({ name, error, attributes }) => [name, error, attributes])).toMatchObject([
      ["GET /orders/:id", false, { "http.route": "/orders/:id", "http.response.status_code": 200 }],
      ["GET /broken", true, { "http.response.status_code": 500, "error.type": "500" }],
      ["GET", false, { "http.response.status_code": 404, "url.path": "/nowhere" }],
    ]);
  });
});
