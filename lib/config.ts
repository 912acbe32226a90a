import { z } from "zod";
import { MAX_IN_FLIGHT } from "./limits.ts";

/** A person has to mend something before the service can start; the message says what. */
export class StartError extends Error {
  override name = "StartError";
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the variables that `shape` names, with their defaults. An empty variable counts as unset.
 *
 * @param shape Variable to zod schema; each takes a string.
 * @throws {StartError} `Cannot start payment: set NATS_URL`, with a line for each variable that is at fault. A wrong
 * value is not repeated: it may be a secret.
 */
export function readConfig<S extends z.ZodRawShape>(
  service: string,
  shape: S,
  environment: Environment,
): z.infer<z.ZodObject<S>> {
  const set = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ""),
  );
  const read = z.object(shape).safeParse(set);
  if (read.success) return read.data;
  const faults = read.error.issues.map((issue) => {
    const name = String(issue.path[0]);
    return name in set ? `correct ${name} (${issue.message})` : `set ${name}`;
  });
  throw new StartError(`Cannot start ${service}: ${[...new Set(faults)].join(", ")}`);
}

/** A TCP port. */
export const port = (standard: number) => z.coerce.number().int().min(0).max(65_535).default(standard);

/** A span of time in milliseconds. */
export const milliseconds = (standard: number) => z.coerce.number().int().min(1).default(standard);

/** Where traces go, by the names that OpenTelemetry gives them. What else it has, its SDK reads by itself. */
const tracing = {
  /** Base URL of whoever takes traces by OTLP. Default: nobody does, and nothing is recorded. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  /** The same for traces alone, with its path. */
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  /** The one there is. */
  OTEL_EXPORTER_OTLP_PROTOCOL: z.literal("http/protobuf").optional(),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: z.literal("http/protobuf").optional(),
  OTEL_TRACES_EXPORTER: z.enum(["otlp", "none"]).default("otlp"),
  /** Which traces that begin here are recorded; one that came in recorded is, with `parentbased_`. */
  OTEL_TRACES_SAMPLER: z
    .enum([
      "always_on",
      "always_off",
      "traceidratio",
      "parentbased_always_on",
      "parentbased_always_off",
      "parentbased_traceidratio",
    ])
    .optional(),
  /** The share of traces that a `traceidratio` records. */
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).optional(),
  OTEL_SDK_DISABLED: z
    .string()
    .toLowerCase()
    .pipe(z.enum(["true", "false"]))
    .default("false"),
} as const;

/** What every service reads. */
export const common = {
  /** Comma-separated server URLs. Credentials are files: a URL gets into logs and lists of processes. */
  NATS_URL: z.string().refine((urls) => !urls.includes("@"), "a URL takes no user or password"),
  /** File with the seed of the service's nkey. Default: none, for a server that lets anybody in. */
  NATS_NKEY_FILE: z.string().optional(),
  /** Files in PEM: authorities of the server's certificate, and what the client shows of itself. */
  NATS_TLS_CA: z.string().optional(),
  NATS_TLS_CERT: z.string().optional(),
  NATS_TLS_KEY: z.string().optional(),
  /** Copies that there should be of each stream. Fewer are told at start. */
  REPLICAS: z.coerce.number().int().min(1).max(5).default(1),
  /** Comma-separated base URLs of the servers' monitoring, by which their sync setting is checked. Default: it is not. */
  NATS_MONITOR_URL: z.string().optional(),
  /** Address to listen on. Loopback unless said otherwise. */
  HOST: z.string().default("127.0.0.1"),
  /** Requests that are handled at the same time; more are answered with 503. */
  MAX_IN_FLIGHT: z.coerce.number().int().min(1).default(MAX_IN_FLIGHT),
  /** Bearer token of the operator endpoints. No default here: only the embedded run, on loopback, supplies one. */
  OPERATOR_TOKEN: z.string().min(1),
  /** Base URL under which messages name their schemas. */
  REGISTRY_URL: z.url().default("http://127.0.0.1:8081"),
  /** `off`: a schema that would break others is stored all the same, and one that cannot be read is read all the same. */
  SCHEMA_GATE: z.enum(["on", "off"]).default("on"),
  ...tracing,
  /** `on`: heeds the faults that an operator sets (`npm run ops -- fault`). For demonstrations. */
  FAULTS: z.enum(["on", "off"]).default("off"),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
} as const;

/** The configuration that {@linkcode common} describes. */
export type CommonConfig = z.infer<z.ZodObject<typeof common>>;
