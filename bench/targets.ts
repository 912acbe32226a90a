import { existsSync } from "node:fs";
import { join } from "node:path";
import { startShopTarget } from "./shop.ts";
import type { Target } from "./target.ts";

export interface StartOptions {
  readonly dataDir: string;
  readonly signal: AbortSignal;
}

type Start = (options: StartOptions) => Promise<Target>;

/** The function in `bench/peers/<name>/target.ts` that starts it. */
const peers: Readonly<Record<string, string>> = {
  restate: "startRestate",
  dbos: "startDbos",
  rest: "startRest",
};

/** All that can be measured, the shop first. */
export const targetNames: readonly string[] = ["shop", ...Object.keys(peers)];

/**
 * Starts a target on an empty folder.
 * @throws {Error} If it does not start, or something that it needs cannot be installed.
 */
export async function startTarget(name: string, options: StartOptions): Promise<Target> {
  if (name === "shop") return startShopTarget(options);
  const start = peers[name];
  const folder = join(import.meta.dirname, "peers");
  const file = join(folder, name, "target.ts");
  if (start === undefined || !existsSync(file)) throw new RangeError(`There is no target "${name}"`);
  // Each peer has packages of its own, which whoever measures the shop alone does not install.
  const { installPeer } = (await import(join(folder, "install.ts"))) as {
    installPeer(name: string): Promise<unknown>;
  };
  await installPeer(name);
  const module = (await import(file)) as Readonly<Record<string, Start | undefined>>;
  const starter = module[start];
  if (starter === undefined) throw new TypeError(`${file} has no ${start}()`);
  return starter(options);
}
