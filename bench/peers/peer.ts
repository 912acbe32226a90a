import { closeSync, openSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type Child, createChild } from "../../tools/child.ts";
import { loopback } from "../../tools/ports.ts";
import type { Poster } from "../http.ts";
import { nodeFlags } from "../node_flags.ts";
import type { OrderRequest, Target } from "../target.ts";
import type { CheckoutRequest } from "./sandbox.ts";

/** What every peer is started with. */
export interface PeerOptions {
  /** An empty folder for all that it writes. */
  readonly dataDir: string;
  /** Ends what has been started. Default: nothing does before it is disposed of. */
  readonly signal?: AbortSignal;
}

/** One process of a peer. */
export interface PeerProcess {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Besides this process's own variables. Default none. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether it is a Node program that ends when the channel to this process does. Default false. */
  readonly channel?: boolean;
  readonly isReady: () => Promise<boolean>;
}

/** The processes of one peer. Disposing of it ends them, the last one first. */
export interface Peer extends AsyncDisposable {
  /** Resolves when it is ready. @throws {StartError} If it ends before, or takes too long. */
  start(process: PeerProcess): Promise<Child>;
  /** Those that run, by name. */
  pids(): Map<string, number>;
}

const READY_WITHIN_MS = 60_000;
const END_WITHIN_MS = 15_000;
const PROBE_WITHIN_MS = 1_000;

/** A peer of which nothing runs yet. Each process's output goes to a file of its name in the folder. */
export function openPeer({ dataDir, signal }: PeerOptions): Peer {
  const children: Child[] = [];
  const logs: number[] = [];
  // This process may end without disposing of anything, and what it has started listens and writes. And who waits for one of
  // them to be ready is not to wait any longer.
  const close = () => {
    for (const child of children) child.close();
  };
  process.on("exit", close);
  signal?.addEventListener("abort", close);

  return {
    async start({ name, command, args, env, channel, isReady }) {
      signal?.throwIfAborted();
      const log = openSync(join(dataDir, `${name}.log`), "a");
      logs.push(log);
      const child = createChild({
        name,
        command,
        args,
        env: { ...process.env, NODE_ENV: "production", ...env },
        stdio: channel ? ["ignore", log, log, "ipc"] : ["ignore", log, log],
        waitsFor: async () => ((await isReady()) ? undefined : "its first answer"),
        readyWithinMs: READY_WITHIN_MS,
        report: (line) => process.stderr.write(`${line}\n`),
      });
      children.push(child);
      await child.start();
      return child;
    },
    pids: () =>
      new Map(children.flatMap(({ name, pid }) => (pid === undefined ? [] : [[name, pid] as const]))),
    async [Symbol.asyncDispose]() {
      for (const child of children.toReversed()) await child.stop({ graceMs: END_WITHIN_MS });
      process.off("exit", close);
      signal?.removeEventListener("abort", close);
      for (const log of logs.splice(0)) closeSync(log);
    },
  };
}

/** What runs a Node program of a peer: as the shop's services run. @param file Its entry point. */
export function nodeProgram(file: string): Pick<PeerProcess, "command" | "args"> {
  return { command: process.execPath, args: [...nodeFlags, file] };
}

export function loopbackUrl(port: number): string {
  return `http://${loopback}:${port}`;
}

/** Whether a GET is answered with 200, for `isReady`. */
export async function answersOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_WITHIN_MS) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    // Nobody listens yet, which is what was asked.
    return false;
  }
}

/** Whether something listens, for `isReady` of what speaks another protocol. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, loopback);
    const answer = (listens: boolean) => {
      socket.destroy();
      resolve(listens);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
    socket.setTimeout(PROBE_WITHIN_MS, () => answer(false));
  });
}

/** The versions that are installed in a peer's folder. */
export function installedVersions(folder: string, packages: readonly string[]): Record<string, string> {
  const version = (name: string): string =>
    JSON.parse(readFileSync(join(folder, "node_modules", name, "package.json"), "utf8")).version;
  return Object.fromEntries(packages.map((name) => [name, version(name)]));
}

/** Places an order and waits for the answer, which comes when it has ended: there is no earlier one. */
export function checkoutBy(poster: Poster, { status }: { status: number }): Target["checkout"] {
  return async (order) => {
    const calledAt = performance.now();
    const answer = await poster.post(Buffer.from(JSON.stringify(checkoutRequest(order))), order.key);
    const endedMs = performance.now() - calledAt;
    if (answer.status !== status) {
      throw new Error(`Order was answered with ${answer.status}, not ${status}: ${answer.body}`);
    }
    const { state } = JSON.parse(answer.body) as { state?: string };
    if (state !== "completed") throw new Error(`Order is not completed: ${answer.body}`);
    return { acceptedMs: endedMs, endedMs };
  };
}

/** An order that nothing stands in the way of. */
function checkoutRequest({ key, sku }: OrderRequest): CheckoutRequest {
  return {
    orderId: key,
    sku,
    paymentToken: "tok_visa",
    address: { name: "Ada", line1: "12 High Street", city: "York" },
  };
}
