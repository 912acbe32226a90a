import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { lowerPriority } from "./priority.ts";
import { StartError } from "./start_error.ts";

export interface ChildOptions {
  /** As in messages to the person who started it. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdio: StdioOptions;
  /** How far others go before it (see {@linkcode lowerPriority}). */
  readonly niceness?: number | undefined;
  /** What keeps it from being started just now, in a sentence. Asked before each start, and again until nothing does. Default: nothing. */
  readonly hindrance?: (() => string | undefined) | undefined;
  /** What keeps the process from its work, for people to read; undefined once it can do it. Asked again and again. */
  readonly waitsFor: () => Promise<string | undefined>;
  /** How long it may take to become ready. Default: as long as it takes. */
  readonly readyWithinMs?: number | undefined;
  readonly report: (line: string) => void;
}

/** A process that is meant to run: when it ends by itself, it is started again. */
export interface Child {
  readonly name: string;
  /** Undefined while it does not run. */
  readonly pid: number | undefined;
  /** What it waited for when it was asked last; undefined if it was ready then. */
  readonly waitsFor: string | undefined;
  /**
   * Starts it and resolves when it is ready.
   *
   * @throws {StartError} If it ends before, or is not ready in time. It is not started again then.
   */
  start(): Promise<void>;
  /** Starts it, and from then on starts it again when it ends, however early. */
  launch(): void;
  /**
   * Resolves when it is ready, through restarts if need be.
   *
   * @throws {StartError} If that takes too long, or if it is down and stays so.
   */
  ready(): Promise<void>;
  /** Asks it to end, kills it after `graceMs`, and leaves it down. */
  stop(options: { graceMs: number }): Promise<void>;
  /** Sends a signal. Resolves when the process is gone; at once for a signal that does not end processes. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Kills it without waiting, and leaves it down. */
  close(): void;
}

export const backoff = { firstMs: 250, capMs: 10_000, resetAfterMs: 30_000 } as const;
/** Each look costs the process that is starting a request, and it has better to do. */
const pollMs = 100;
const askAgainMs = 1_000;
const noAnswer = "its first answer";
const harmless: ReadonlySet<NodeJS.Signals> = new Set([
  "SIGSTOP",
  "SIGCONT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGWINCH",
]);

/**
 * Time until the start after the `failures`-th death in a row (from 0). Half of it is random, so that processes that
 * died of one cause do not come back in one instant.
 */
export function backoffMs(failures: number, random: number): number {
  const ceiling = Math.min(backoff.capMs, backoff.firstMs * 2 ** failures);
  return Math.round(ceiling * (0.5 + random / 2));
}

/** A child that is not started yet. */
export function createChild(options: ChildOptions): Child {
  const { name, report, readyWithinMs = Number.POSITIVE_INFINITY, niceness } = options;
  /** Only the death of one that was up is a surprise, and answered by a new start. */
  let state: "down" | "starting" | "up" = "down";
  let running: ChildProcess | undefined;
  let restart: NodeJS.Timeout | undefined;
  let startedAt = 0;
  let failures = 0;
  let lastEnd = "not started";
  let waitsFor: string | undefined = noAnswer;
  /** What was last said to keep it from being started. */
  let told: string | undefined;

  function spawnIt(): void {
    const hindered = options.hindrance?.();
    if (hindered !== undefined) {
      if (hindered !== told) report(`${name} is not started: ${hindered}`);
      told = hindered;
      restart = setTimeout(spawnIt, askAgainMs);
      return;
    }
    told = undefined;
    restart = undefined;
    const child = spawn(options.command, options.args, {
      // A group of its own: Ctrl-C in a terminal reaches the supervisor only, which then drains in order.
      detached: true,
      env: { ...options.env },
      stdio: options.stdio,
    });
    if (child.pid !== undefined && niceness !== undefined) lowerPriority(child.pid, { niceness, report });
    running = child;
    startedAt = performance.now();
    const ended = (how: string) => {
      // An "error" is a start that failed, which may come without an "exit", or a signal that failed: no end at all.
      if (running !== child || isRunning(child)) return;
      running = undefined;
      lastEnd = how;
      if (state === "up") restartLater();
    };
    child.once("exit", (code, signal) => ended(signal ?? `exit code ${code}`));
    child.on("error", (error) => ended(error.message));
  }

  function restartLater(): void {
    if (performance.now() - startedAt >= backoff.resetAfterMs) failures = 0;
    const delay = backoffMs(failures++, Math.random());
    report(`${name} died (${lastEnd}); starting it again in ${(delay / 1000).toFixed(1)} s`);
    restart = setTimeout(spawnIt, delay);
  }

  async function ready(): Promise<void> {
    for (let giveUpAt = performance.now() + readyWithinMs; ; ) {
      const asked = running;
      waitsFor = asked === undefined ? (told ?? noAnswer) : await options.waitsFor();
      if (waitsFor === undefined && running === asked) return;
      // The time that it is kept from being started is not its own.
      if (told !== undefined) giveUpAt = performance.now() + readyWithinMs;
      else if (running === undefined && state !== "up") {
        throw new StartError(`Cannot start ${name}: it ended before it was ready (${lastEnd})`);
      }
      if (performance.now() > giveUpAt) {
        throw new StartError(
          `Cannot start ${name}: it is not ready after ${readyWithinMs / 1000} s, and waits for ${waitsFor}`,
        );
      }
      await sleep(pollMs);
    }
  }

  function begin(as: "starting" | "up"): void {
    if (state !== "down") throw new Error(`Cannot start ${name}: it is ${state}`);
    state = as;
    failures = 0;
    waitsFor = noAnswer;
    spawnIt();
  }

  function stayDown(): void {
    state = "down";
    clearTimeout(restart);
    restart = undefined;
  }

  return {
    name,
    get pid() {
      return running?.pid;
    },
    get waitsFor() {
      return waitsFor;
    },
    async start() {
      begin("starting");
      await ready();
      // Unless it was stopped while it started.
      if (state === "starting") state = "up";
    },
    launch: () => begin("up"),
    ready,
    async stop({ graceMs }) {
      stayDown();
      const child = running;
      if (child === undefined) return;
      const exit = exitOf(child);
      child.kill("SIGTERM");
      const late = setTimeout(() => {
        report(`${name} did not end within ${graceMs / 1000} s; killing it`);
        killGroup(child);
      }, graceMs);
      await exit;
      clearTimeout(late);
    },
    async kill(signal) {
      const child = running;
      if (child === undefined) return;
      const exit = exitOf(child);
      child.kill(signal);
      if (!harmless.has(signal)) await exit;
    },
    close() {
      stayDown();
      if (running !== undefined) killGroup(running);
    },
  };
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
  });
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended meanwhile, which is what was wanted.
  }
}
