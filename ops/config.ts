import { userInfo } from "node:os";
import { ConfigError, type FoundShop, findShop, readLocalPort } from "../nats/mod.ts";
import { services } from "../services/mod.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the shop's servers are, and who asks. */
export interface OpsConfig extends FoundShop {
  /** Name under which what is done is recorded, unless `--by` says otherwise. */
  readonly by: string;
  /** Where programs are found: `git`, for schemas of another revision. */
  readonly path?: string | undefined;
  /** Address of a trace, with `{trace_id}` where its id goes. */
  readonly traceUrl?: string | undefined;
  /** Base URL of a service. @throws {ConfigError} If there is no service of that name, or its port makes no sense. */
  urlOf(service: string): string;
  /** What the services' operator endpoints ask for. */
  readonly operatorToken: string;
}

/** What `readOpsConfig()` reads, for `--help`. */
export const variables = `Environment (a shop that npm start runs on DATA_DIR is found without any of it):
  DATA_DIR        folder of the run that npm start has begun, default .data
  NATS_URL        comma-separated server URLs, default: those of the shop that runs on DATA_DIR, else port 4222
  NATS_NKEY_FILE  seed of the operator's credential, default: the one in DATA_DIR, where there is one
  NATS_TLS_CA, NATS_TLS_CERT, NATS_TLS_KEY  PEM files of an encrypted connection
  PORT_BASE       port of the order service, where all ports were moved with it
  TRACE_URL       where traces are shown, http://127.0.0.1:16686/trace/{trace_id} for example, for the command order
  ANALYTICS_URL, ORDER_URL, …  of services: analytics for its rebuild, order and fraud for traffic, others for what they say
                  of faults
  OPERATOR_TOKEN  what the services' operator endpoints ask for, default dev
  NO_COLOR        any value: no colours, not even in a terminal`;

/**
 * An empty variable counts as unset.
 *
 * @throws {ConfigError} If a port makes no sense.
 */
export function readOpsConfig(environment: Environment = process.env): OpsConfig {
  const shop = findShop(environment);
  return {
    ...shop,
    by: environment.USER || userInfo().username,
    path: environment.PATH,
    traceUrl: environment.TRACE_URL || undefined,
    operatorToken: environment.OPERATOR_TOKEN || shop.running?.operatorToken || "dev",
    urlOf: (name) => environment[`${name.toUpperCase()}_URL`] || localUrl(name, { environment, shop }),
  };
}

function localUrl(
  name: string,
  { environment, shop }: { environment: Environment; shop: FoundShop },
): string {
  const service = services.find((other) => other.name === name);
  if (service === undefined) throw new ConfigError(`There is no service ${JSON.stringify(name)}`);
  const { portVariable: variable, port: standard } = service;
  const port = readLocalPort(environment, { variable, standard });
  const running = environment[variable] ? undefined : shop.running?.urls[name];
  return running ?? `http://127.0.0.1:${port}`;
}
