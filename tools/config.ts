import { dataDirOf, readPort } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import { portUses } from "./processes.ts";
import { StartError } from "./start_error.ts";
import type { ShopOptions } from "./supervisor.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const defaultToken = "dev";
const defaultFileStore = "10GB";

/** One line per variable that `readConfig()` reads, for `--help`. */
export function describeConfig(): string {
  const variables: [name: string, text: string][] = [
    ["DATA_DIR", "folder of all state, default .data; two folders share nothing"],
    ["OPERATOR_TOKEN", `bearer token of the operator endpoints, default ${defaultToken}`],
    ["NATS_SERVER", "path of the nats-server to run, default: from PATH, else fetched"],
    ["NATS_MAX_FILE_STORE", `what streams may take on the disk, default ${defaultFileStore}`],
    [
      "PORT_BASE",
      "port of order, 18080 for example: all others move by as much, NATS_PORT to 14222; default 8080",
    ],
    ...portUses(services).map(({ name, port, variable }): [string, string] => {
      const what = variable === "NATS_MONITOR_PORT" ? `${name}'s monitoring` : name;
      return [variable, `port of ${what} alone, default ${port}`];
    }),
    ["LOG_LEVEL", "of the services: trace, debug, info (default), warn, error, fatal or silent"],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "takes traces by OTLP over HTTP, default: none are recorded"],
    ["TRACE_URL", "where traces are shown, with {trace_id}: timelines of orders link there"],
    ["FAULTS", "off: heed no faults that are set with npm run ops -- fault; default on"],
    ["DATABASE_URL", "PostgreSQL for analytics, default: PGlite, within its process, in DATA_DIR/analytics"],
    ["SMTP_URL", "mail server, default: mails go to mailboxes in DATA_DIR/mail"],
    ["STRIPE_SECRET_KEY", "charge with Stripe, default: the sandbox's tokens"],
    ["NO_COLOR", "any value: no colours, not even in a terminal"],
  ];
  const width = Math.max(...variables.map(([name]) => name.length)) + 2;
  const own = variables.map(([name, text]) => `  ${name.padEnd(width)}${text}`);
  return [...own, "", "All other variables are passed on to the services."].join("\n");
}

/**
 * The embedded run's options from the environment. An empty variable counts as unset.
 *
 * @throws {StartError} Naming the variable that makes no sense.
 */
export function readConfig(env: Environment = process.env) {
  const maxFileStore = env.NATS_MAX_FILE_STORE || defaultFileStore;
  if (!/^[1-9]\d*[KMGT]B?$/i.test(maxFileStore)) {
    throw new StartError(
      `Cannot start: NATS_MAX_FILE_STORE is "${maxFileStore}", not a size such as ${defaultFileStore}`,
    );
  }
  return {
    dataDir: dataDirOf(env),
    operatorToken: env.OPERATOR_TOKEN || defaultToken,
    maxFileStore,
    ports: readPorts(env),
    environment: env,
  } satisfies Partial<ShopOptions>;
}

function readPorts(env: Environment): Record<string, number> {
  try {
    return Object.fromEntries(
      portUses(services).map(({ variable, port: standard }) => {
        return [variable, readPort(env, { variable, standard })];
      }),
    );
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new StartError(`Cannot start: ${cause.message}`, { cause });
  }
}
