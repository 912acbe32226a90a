import { join, resolve } from "node:path";
import { environmentFor, nodeArguments, type Service, services } from "./mod.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Variables that name a file which a service reads itself. */
const files = ["NATS_NKEY_FILE", "NATS_TLS_CA", "NATS_TLS_CERT", "NATS_TLS_KEY"];
/** Names a path on the disk of the store. */
const disk = "STORE_DISK";

/** @throws {RangeError} If there is no such service. */
export function serviceNamed(name: string | undefined): Service {
  const service = services.find((other) => other.name === name);
  if (service !== undefined) return service;
  const names = services.map((other) => other.name).join(", ");
  throw new RangeError(`There is no service ${JSON.stringify(name)}: it is one of ${names}`);
}

/**
 * How `service` runs by itself, as in a container: arguments for `node` that let it touch what it needs and what its
 * environment names, and the environment without the secrets of others.
 *
 * @param options.root The project's folder.
 */
export function commandOf(
  service: Service,
  { root, environment }: { root: string; environment: Environment },
): { args: string[]; env: Record<string, string> } {
  const { DATA_DIR = "" } = environment;
  const named = service.watchesDisk === true ? [...files, disk] : files;
  const reads = named.flatMap((name) => environment[name] || []);
  const own = Object.entries(environmentFor(service, environment));
  return {
    args: nodeArguments(service, {
      root,
      dataDir: DATA_DIR === "" ? join(root, ".data") : resolve(root, DATA_DIR),
      reads: reads.map((path) => resolve(root, path)),
    }),
    env: Object.fromEntries(own.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))),
  };
}

/** Where a process on the same machine asks whether `service` is ready. */
export function readyUrl(service: Service, environment: Environment): string {
  return `http://127.0.0.1:${environment[service.portVariable] || service.port}/readyz`;
}
