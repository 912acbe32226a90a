import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Access } from "./access.ts";
import { seedFile } from "./credential_files.ts";
import { OPERATOR } from "./credentials.ts";

/** What the topology tool reads from its environment: the operator's access, and more. */
export interface TopologyConfig extends Access {
  /** Copies of each stream. */
  replicas: number;
}

/** A variable is missing or wrong; the message names it. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

/**
 * `NATS_URL`, `REPLICAS` (default 1), `NATS_NKEY_FILE` (default: the operator's seed of the embedded run in `DATA_DIR`, if
 * there is one), `NATS_TLS_CA`, `NATS_TLS_CERT` and `NATS_TLS_KEY`. An empty variable counts as unset.
 * @throws {ConfigError} If a variable is missing or wrong.
 */
export function readTopologyConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): TopologyConfig {
  const { NATS_URL: servers, REPLICAS: replicas } = environment;
  if (!servers) throw new ConfigError("Cannot apply the topology: set NATS_URL");
  // What the server allows: an odd number, so that a majority survives.
  if (replicas && !/^[135]$/.test(replicas)) {
    throw new ConfigError("Cannot apply the topology: correct REPLICAS (1, 3 or 5)");
  }
  const { NATS_TLS_CA: ca, NATS_TLS_CERT: cert, NATS_TLS_KEY: key } = environment;
  return {
    servers,
    replicas: Number(replicas || 1),
    nkeyFile: environment.NATS_NKEY_FILE || embeddedOperator(environment.DATA_DIR || ".data"),
    tls: { ca: ca || undefined, cert: cert || undefined, key: key || undefined },
  };
}

/** The seed that `npm start` has made in the folder of its state. */
function embeddedOperator(dataDir: string): string | undefined {
  const file = seedFile(resolve(import.meta.dirname, "..", dataDir, "credentials"), OPERATOR);
  return existsSync(file) ? file : undefined;
}
