import { ConfigError, dataDirOf, type FoundShop, findShop } from "./running_shop.ts";

/** What the topology tool reads from its environment: the operator's access, and more. */
export interface TopologyConfig extends FoundShop {
  /** Copies of each stream. */
  replicas: number;
}

/**
 * `REPLICAS` (default 1), and the servers as {@linkcode findShop} finds them; but nobody's streams are made by a default: either
 * the environment names the servers, or a shop runs on `DATA_DIR`. An empty variable counts as unset.
 * @throws {ConfigError} If a variable is missing or wrong.
 */
export function readTopologyConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): TopologyConfig {
  const { REPLICAS: replicas } = environment;
  // What the server allows: an odd number, so that a majority survives.
  if (replicas && !/^[135]$/.test(replicas)) {
    throw new ConfigError("Cannot apply the topology: correct REPLICAS (1, 3 or 5)");
  }
  const shop = findShop(environment);
  const { NATS_URL, NATS_PORT, PORT_BASE } = environment;
  if (shop.running === undefined && !NATS_URL && !NATS_PORT && !PORT_BASE) {
    throw new ConfigError(
      `Cannot apply the topology: set NATS_URL, or start the shop: none runs on ${dataDirOf(environment)}`,
    );
  }
  return { ...shop, replicas: Number(replicas || 1) };
}
