import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { type DescMessage, fromBinary, toJson } from "@bufbuild/protobuf";
import { compile } from "../../schemas/mod.ts";

/** A span as it was sent. */
export interface SentSpan {
  service: string;
  name: string;
  kind: "internal" | "server" | "client" | "producer" | "consumer";
  traceId: string;
  spanId: string;
  /** Undefined: it is the root of its trace. */
  parentId: string | undefined;
  attributes: Record<string, string | number | boolean>;
  links: { traceId: string; spanId: string }[];
  error: boolean;
  startNano: bigint;
  endNano: bigint;
}

/** Takes traces by OTLP (`http/protobuf`), as any backend does, and keeps them. */
export interface OtlpReceiver extends AsyncDisposable {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly url: string;
  readonly spans: readonly SentSpan[];
  /** Requests that came, answered or not. */
  readonly requests: number;
  /** From now on it answers 503, or nothing at all. */
  fail(how: "unavailable" | "silent"): void;
  /** Resolves when nothing has come for `ms`. */
  quiet(ms: number): Promise<void>;
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const schema = await requestSchema();
  const spans: SentSpan[] = [];
  let requests = 0;
  let last = performance.now();
  let failure: "unavailable" | "silent" | undefined;
  const server = createServer(async (request, response) => {
    requests += 1;
    last = performance.now();
    if (failure === "silent") return;
    if (failure === "unavailable") {
      response.writeHead(503).end();
      return;
    }
    const { url, headers } = request;
    const body = await buffer(request);
    if (url !== "/v1/traces" || headers["content-type"] !== "application/x-protobuf") {
      response.writeHead(400).end();
      return;
    }
    const data = headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
    spans.push(...spansOf(toJson(schema, fromBinary(schema, data)) as unknown as SentRequest));
    response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("Cannot learn the receiver's port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    spans,
    get requests() {
      return requests;
    },
    fail(how) {
      failure = how;
    },
    async quiet(ms) {
      while (performance.now() - last < ms) await sleep(ms - (performance.now() - last));
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function requestSchema(): Promise<DescMessage> {
  const text = readFileSync(new URL("./otlp.proto", import.meta.url), "utf8");
  const schema = (await compile({ "otlp.proto": text })).getMessage("otlp.ExportTraceServiceRequest");
  if (schema === undefined)
    throw new Error("Cannot decode traces: otlp.proto has no ExportTraceServiceRequest");
  return schema;
}

/** Protobuf's JSON of the request: what is empty is left out, bytes are base64. */
interface SentRequest {
  resourceSpans?: {
    resource?: { attributes?: KeyValue[] };
    scopeSpans?: { spans?: EncodedSpan[] }[];
  }[];
}

interface EncodedSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind?: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes?: KeyValue[];
  links?: { traceId: string; spanId: string }[];
  status?: { code?: number };
}

interface KeyValue {
  key: string;
  value?: { stringValue?: string; boolValue?: boolean; intValue?: string; doubleValue?: number };
}

const KINDS = ["internal", "internal", "server", "client", "producer", "consumer"] as const;
const STATUS_ERROR = 2;

function* spansOf({ resourceSpans = [] }: SentRequest): Iterable<SentSpan> {
  for (const { resource, scopeSpans = [] } of resourceSpans) {
    const service = String(attributesOf(resource?.attributes)["service.name"]);
    for (const span of scopeSpans.flatMap(({ spans = [] }) => spans)) {
      yield {
        service,
        name: span.name,
        kind: KINDS[span.kind ?? 0] ?? "internal",
        traceId: hex(span.traceId),
        spanId: hex(span.spanId),
        parentId: span.parentSpanId === undefined ? undefined : hex(span.parentSpanId),
        attributes: attributesOf(span.attributes),
        links: (span.links ?? []).map(({ traceId, spanId }) => ({
          traceId: hex(traceId),
          spanId: hex(spanId),
        })),
        error: span.status?.code === STATUS_ERROR,
        startNano: BigInt(span.startTimeUnixNano),
        endNano: BigInt(span.endTimeUnixNano),
      };
    }
  }
}

function attributesOf(list: readonly KeyValue[] = []): SentSpan["attributes"] {
  return Object.fromEntries(
    list.map(({ key, value = {} }) => {
      const { stringValue, boolValue, intValue, doubleValue } = value;
      return [
        key,
        stringValue ?? boolValue ?? (intValue === undefined ? doubleValue : Number(intValue)) ?? "",
      ];
    }),
  );
}

function hex(base64: string): string {
  return Buffer.from(base64, "base64").toString("hex");
}
