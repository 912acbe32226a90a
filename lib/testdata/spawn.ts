import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

export interface Line {
  level: string;
  service: string;
  time: string;
  msg: string;
  [field: string]: unknown;
}

/** What `process.ts` logged, what it disposed of, in order, and how it ended. */
export interface Ended {
  lines: Line[];
  disposed: string[];
  code: number | null;
}

/** Runs `process.ts` as a service is run: its output is no terminal, and it has a channel to its parent. */
export function spawnFixture(mode: string): {
  child: ChildProcess;
  /** Resolves when it has said that it is ready. */
  ready: Promise<void>;
  ended: Promise<Ended>;
} {
  const path = fileURLToPath(new URL("process.ts", import.meta.url));
  const args = ["--disable-warning=ExperimentalWarning", path, mode];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe", "ipc"] });
  const ready = Promise.withResolvers<void>();
  const logged = readLines(child.stdout as Readable, (line) => {
    if (line.includes('"msg":"ready"')) ready.resolve();
  });
  const disposed = readLines(child.stderr as Readable);
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const ended = Promise.all([logged, disposed, exit]).then(([lines, disposed, code]) => ({
    lines: lines.map((line) => JSON.parse(line) as Line),
    disposed,
    code,
  }));
  return { child, ready: ready.promise, ended };
}

async function readLines(
  output: Readable,
  seen: (line: string) => void = () => undefined,
): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of createInterface({ input: output })) {
    lines.push(line);
    seen(line);
  }
  return lines;
}
