import { createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { StartError } from "./start_error.ts";

export interface PortUse {
  /** Who listens on it. */
  readonly name: string;
  readonly port: number;
  /** The environment variable that changes it. */
  readonly variable: string;
}

/** All that this project runs by itself listens here and nowhere else. */
export const loopback = "127.0.0.1";

/** Below the range from which systems take the ports of outgoing connections, so that none is taken meanwhile. */
const freeRange = { from: 20_000, to: 32_000 } as const;

const retryEveryMs = 200;

/**
 * Resolves when each port could be bound on loopback, all at the same time; they are released again.
 *
 * @param options `waitMs`: how long a taken port may take to come free, default 0.
 * @throws {StartError} Naming each port that is taken and the variable that changes it.
 */
export async function assertPortsFree(uses: readonly PortUse[], options: { waitMs?: number } = {}) {
  const giveUpAt = performance.now() + (options.waitMs ?? 0);
  for (;;) {
    const problem = await findProblem(uses);
    if (problem === undefined) return;
    if (performance.now() >= giveUpAt) throw new StartError(problem);
    await sleep(retryEveryMs);
  }
}

async function findProblem(uses: readonly PortUse[]): Promise<string | undefined> {
  for (const [i, use] of uses.entries()) {
    const twin = uses.slice(0, i).find((other) => other.port === use.port);
    if (twin) return `Cannot start ${use.name}: ${twin.variable} and ${use.variable} are both ${use.port}`;
  }
  const attempts = await Promise.all(uses.map(async (use) => ({ use, result: await bind(use.port) })));
  const held = attempts.flatMap(({ result }) => (typeof result === "string" ? [] : [result]));
  await Promise.all(held.map(release));

  const denied = attempts.find(({ result }) => result === "EACCES");
  if (denied) {
    const { name, port, variable } = denied.use;
    return `Cannot start ${name}: this user may not open port ${port}; set ${variable}`;
  }
  const taken = attempts.filter(({ result }) => typeof result === "string").map(({ use }) => use);
  if (taken.length === 0) return undefined;
  const [names, ports, variables] = [
    taken.map((use) => use.name).join(", "),
    taken.map((use) => use.port).join(", "),
    taken.map((use) => use.variable).join(", "),
  ];
  return taken.length === 1
    ? `Cannot start ${names}: port ${ports} is taken; free it or set ${variables}`
    : `Cannot start ${names}: ports ${ports} are taken; free them or set ${variables}`;
}

/** `count` ports that were free a moment ago, for tests that run side by side. */
export async function freePorts(count: number): Promise<number[]> {
  const held = new Map<number, Server>();
  while (held.size < count) {
    const port = freeRange.from + Math.floor(Math.random() * (freeRange.to - freeRange.from));
    const result = held.has(port) ? "EADDRINUSE" : await bind(port);
    if (typeof result !== "string") held.set(port, result);
  }
  await Promise.all([...held.values()].map(release));
  return [...held.keys()];
}

/** The listening server, or the code of the error that kept it from listening. */
function bind(port: number): Promise<Server | string> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ port, host: loopback, exclusive: true }, () => resolve(server));
  });
}

function release(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
