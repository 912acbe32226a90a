/** What the topology tool reads from its environment. */
export interface TopologyConfig {
  /** Comma-separated server URLs, with the operator's credentials where there are any. */
  servers: string;
  /** Copies of each stream. */
  replicas: number;
}

/** A variable is missing or wrong; the message names it. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

/**
 * `NATS_URL` and `REPLICAS` (default 1). An empty variable counts as unset.
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
  return { servers, replicas: Number(replicas || 1) };
}
