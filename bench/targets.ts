import { existsSync } from "node:fs";
import { join } from "node:path";
import { installPackages } from "../tools/install_packages.ts";
import { startShopTarget } from "./shop.ts";
import type { Target } from "./target.ts";

export interface StartOptions {
  readonly dataDir: string;
  readonly signal: AbortSignal;
}

type Start = (options: StartOptions & { readonly layout?: string }) => Promise<Target>;

interface Peer {
  /** Below `bench/peers`. */
  readonly folder: string;
  /** The function of its `target.ts` that starts it. */
  readonly start: string;
  /** Which of its ways to lay out the same checkout. */
  readonly layout?: string;
}

/** As docs and command line name them. Restate comes twice: with the participants as services, and all in one handler. */
const peers: Readonly<Record<string, Peer>> = {
  restate: { folder: "restate", start: "startRestate", layout: "services" },
  "restate-saga": { folder: "restate", start: "startRestate", layout: "saga" },
  dbos: { folder: "dbos", start: "startDbos" },
  rest: { folder: "rest", start: "startRest" },
};

/** All that can be measured, the shop first. */
export const targetNames: readonly string[] = ["shop", ...Object.keys(peers)];

/**
 * Starts a target on an empty folder.
 * @throws {Error} If it does not start, or something that it needs cannot be installed.
 */
export async function startTarget(name: string, options: StartOptions): Promise<Target> {
  if (name === "shop") return startShopTarget(options);
  const peer = peers[name];
  const folder = join(import.meta.dirname, "peers");
  const file = join(folder, peer?.folder ?? "", "target.ts");
  if (peer === undefined || !existsSync(file)) throw new RangeError(`There is no target "${name}"`);
  // Each peer has packages of its own, which whoever measures the shop alone does not install.
  await installPackages(join(folder, peer.folder));
  const module = (await import(file)) as Readonly<Record<string, Start | undefined>>;
  const starter = module[peer.start];
  if (starter === undefined) throw new TypeError(`${file} has no ${peer.start}()`);
  return starter({ ...options, ...(peer.layout !== undefined && { layout: peer.layout }) });
}
