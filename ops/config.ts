import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { join, resolve } from "node:path";
import type { Access } from "../nats/mod.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the shop's servers are, and who asks. */
export interface OpsConfig extends Access {
  /** Name under which what is done is recorded, unless `--by` says otherwise. */
  readonly by: string;
  /** Where programs are found: `git`, for schemas of another revision. */
  readonly path?: string | undefined;
  /** Address of a trace, with `{trace_id}` where its id goes. */
  readonly traceUrl?: string | undefined;
  /** Base URL of analytics, whose projection a replay rebuilds, and what its operator endpoints ask for. */
  readonly analyticsUrl: string;
  /** Base URLs of the services that traffic goes to. */
  readonly orderUrl: string;
  readonly fraudUrl: string;
  readonly operatorToken: string;
}

/** What `readOpsConfig()` reads, for `--help`. */
export const variables = `Environment:
  NATS_URL        comma-separated server URLs, default nats://127.0.0.1:4222
  NATS_NKEY_FILE  seed of the operator's credential, default: the one in DATA_DIR, where there is one
  NATS_TLS_CA, NATS_TLS_CERT, NATS_TLS_KEY  PEM files of an encrypted connection
  TRACE_URL       where traces are shown, http://127.0.0.1:16686/trace/{trace_id} for example, for the command order
  ANALYTICS_URL, OPERATOR_TOKEN  of analytics, for its rebuild, and of fraud, for traffic; default http://127.0.0.1:8087 and dev, as npm start has them
  ORDER_URL, FRAUD_URL  where traffic goes; default http://127.0.0.1:8080 and :8084, or ORDER_PORT and FRAUD_PORT
  DATA_DIR        folder of the run that npm start has begun, default .data
  NO_COLOR        any value: no colours, not even in a terminal`;

/** An empty variable counts as unset. */
export function readOpsConfig(environment: Environment = process.env): OpsConfig {
  const { NATS_TLS_CA: ca, NATS_TLS_CERT: cert, NATS_TLS_KEY: key } = environment;
  const root = resolve(import.meta.dirname, "..");
  const own = join(resolve(root, environment.DATA_DIR || ".data"), "credentials", "operator.nk");
  const nkeyFile = environment.NATS_NKEY_FILE || (existsSync(own) ? own : undefined);
  return {
    servers: environment.NATS_URL || "nats://127.0.0.1:4222",
    nkeyFile,
    tls: { ca: ca || undefined, cert: cert || undefined, key: key || undefined },
    by: environment.USER || userInfo().username,
    path: environment.PATH,
    traceUrl: environment.TRACE_URL || undefined,
    analyticsUrl: environment.ANALYTICS_URL || `http://127.0.0.1:${environment.ANALYTICS_PORT || 8087}`,
    orderUrl: environment.ORDER_URL || `http://127.0.0.1:${environment.ORDER_PORT || 8080}`,
    fraudUrl: environment.FRAUD_URL || `http://127.0.0.1:${environment.FRAUD_PORT || 8084}`,
    operatorToken: environment.OPERATOR_TOKEN || "dev",
  };
}
