import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nkeys } from "@nats-io/transport-node";
import { authorizationBlock, OPERATOR } from "./credentials.ts";
import { makeFolder } from "./folder.ts";
import { servicesOf, topology as shop, type Topology } from "./topology.ts";

export interface CredentialFiles {
  /** To be included by the server's configuration. Public keys and permissions, no secret. */
  readonly authorization: string;
  /** The operator's seed. */
  readonly operator: string;
}

/** The file of a service's or the operator's seed in a folder of credentials. */
export function seedFile(folder: string, name: string): string {
  return join(folder, `${name}.nk`);
}

/**
 * Sees to it that `folder` holds one nkey seed for the operator and for each service, `<name>.nk`, readable by its
 * owner only, and the server's `authorization.conf` as the topology wants it today. A seed that is there is kept;
 * remove it and call again to replace it.
 *
 * @param options.services Default: those of the topology.
 * @throws {Error} If the folder cannot be written, or a seed in it is none.
 */
export function writeCredentials(
  folder: string,
  options: { topology?: Topology; services?: readonly string[] } = {},
): CredentialFiles {
  const { topology = shop, services = servicesOf(topology) } = options;
  makeFolder(folder, { mode: 0o700 });
  const keys = [OPERATOR, ...services].map((name) => [name, publicKey(seedFile(folder, name))]);
  const authorization = join(folder, "authorization.conf");
  writeAtOnce(authorization, authorizationBlock(Object.fromEntries(keys), topology));
  return { authorization, operator: seedFile(folder, OPERATOR) };
}

/** The public key of the seed in `path`, which is made if there is none. */
function publicKey(path: string): string {
  if (!existsSync(path)) writeAtOnce(path, Buffer.from(nkeys.createUser().getSeed()).toString());
  chmodSync(path, 0o600);
  return nkeys.fromSeed(readSeed(path)).getPublicKey();
}

/** @throws {Error} If there is no seed in the file. Its content is not repeated. */
export function readSeed(path: string): Uint8Array {
  let seed: Uint8Array;
  try {
    seed = Buffer.from(readFileSync(path, "utf8").trim());
    nkeys.fromSeed(seed);
  } catch (cause) {
    const { code, name } = cause as NodeJS.ErrnoException;
    throw new Error(`Cannot read a NATS credential from ${path}: ${code ?? name}`);
  }
  return seed;
}

/** Whole or not at all: a process that is killed meanwhile leaves no half of a file. */
function writeAtOnce(path: string, text: string): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, path);
}
