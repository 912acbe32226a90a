import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readRunningShop } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import { exampleOrder } from "../tools/example_order.ts";
import { projectFolder } from "../tools/nats_server.mjs";
import { freePorts, loopback } from "../tools/ports.ts";
import { portUses } from "../tools/processes.ts";
import { readProcesses } from "./processes.ts";

/** How long one start took, from the command on. */
export interface Timed {
  readonly acceptedMs: number;
  readonly openMs: number;
  readonly readyMs: number;
  /** CPU time of the supervisor and all that it has started; undefined without a `/proc`. */
  readonly cpuMs: number | undefined;
}

const POST_EVERY_MS = 20;
const LOOK_EVERY_MS = 20;
/** A machine on which it takes longer is no place to measure it. */
const GIVE_UP_AFTER_MS = 180_000;

/**
 * Runs `npm start` on `dataDir` until everything is ready, and stops it.
 *
 * @throws {Error} If it ends by itself, with its output, or takes too long; and the signal's reason.
 */
export async function startOnce(dataDir: string, { signal }: { signal: AbortSignal }): Promise<Timed> {
  const uses = portUses(services);
  const free = await freePorts(uses.length);
  const ports = Object.fromEntries(uses.map(({ variable }, i) => [variable, `${free[i]}`]));
  const began = performance.now();
  const child = spawn("npm", ["start"], {
    cwd: projectFolder,
    env: { ...process.env, ...ports, DATA_DIR: dataDir, LOG_LEVEL: "warn" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      output += text;
    });
  }
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const until = async (done: () => boolean | Promise<boolean>, everyMs: number): Promise<number> => {
    while (!(await done())) {
      signal.throwIfAborted();
      if (child.exitCode !== null) throw new Error(`npm start ended with ${child.exitCode}: ${output}`);
      if (performance.now() - began > GIVE_UP_AFTER_MS)
        throw new Error(`npm start takes too long: ${output}`);
      await sleep(everyMs);
    }
    return performance.now() - began;
  };
  const onlookers = services.filter(({ looksOn }) => looksOn);
  try {
    const url = `http://${loopback}:${ports.ORDER_PORT}/orders`;
    const key = randomUUID();
    const [acceptedMs, openMs, readyMs] = await Promise.all([
      until(() => accepts(url, key), POST_EVERY_MS),
      until(() => output.includes("The shop is open."), LOOK_EVERY_MS),
      until(() => onlookers.every(({ name }) => output.includes(`${name} is ready`)), LOOK_EVERY_MS),
    ]);
    const { pid } = readRunningShop(dataDir) ?? {};
    return { acceptedMs, openMs, readyMs, cpuMs: pid && cpuOf(pid) };
  } finally {
    // npm passes it on, but not before it has seen its script start.
    const { pid } = readRunningShop(dataDir) ?? {};
    if (pid !== undefined) process.kill(pid, "SIGINT");
    else child.kill("SIGINT");
    await ended;
  }
}

async function accepts(url: string, key: string): Promise<boolean> {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": key },
      body: JSON.stringify(exampleOrder),
    });
    await answer.body?.cancel();
    return answer.status === 202;
  } catch {
    // Nobody listens there yet.
    return false;
  }
}

/** Of a process and its children, in milliseconds so far. */
function cpuOf(pid: number): number | undefined {
  return readProcesses()
    ?.filter((one) => one.pid === pid || one.parent === pid)
    .reduce((sum, { cpuMs }) => sum + cpuMs, 0);
}
