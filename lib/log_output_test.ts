import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, createReadStream, existsSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../test/support/until.ts";
import { openLogOutput } from "./log_output.ts";
import type { Line } from "./testdata/spawn.ts";

const fixture = fileURLToPath(new URL("testdata/process.ts", import.meta.url));
/** A process that starts, and 20,000 lines of which most are dropped, on a busy machine. */
const PATIENCE = { timeoutMs: 30_000 };

let folder: string;
let child: ChildProcess | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "log-test-"));
});
afterEach(async () => {
  child?.kill("SIGKILL");
  child = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Runs the fixture that logs more than anybody takes, and resolves with what it counted. */
async function flood(output: number | "pipe", start: (args: string[]) => [string, string[]]) {
  const file = join(folder, "figures");
  const [command, args] = start(["--disable-warning=ExperimentalWarning", fixture, "floods", file]);
  const started = spawn(command, args, { stdio: ["ignore", output, "ignore"] });
  child = started;
  // A reader that is gone.
  started.stdout?.destroy();
  const ended = new Promise<number | null>((resolve) => started.once("exit", resolve));
  await until("the flood to be over", () => existsSync(file), PATIENCE);
  const figures: { lines: number; dropped: number } = JSON.parse(await readFile(file, "utf8"));
  return { ...figures, child: started, ended };
}

/** A pipe that nobody reads, held open by this process. */
function openPipe(): { path: string; end: number } {
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  return { path, end: openSync(path, "r+") };
}

describe("a process whose log nobody reads", () => {
  it("goes on, drops what does not fit, and says how much once somebody reads again", async () => {
    const { path, end } = openPipe();
    const { child, ended, lines, dropped } = await flood(end, (args) => [process.execPath, args]);
    expect(dropped).toBeGreaterThan(1_000);
    expect(dropped).toBeLessThan(lines);

    const seen: Line[] = [];
    const input = createInterface({ input: createReadStream(path) });
    input.on("line", (line) => seen.push(JSON.parse(line)));
    const told = await until("what was dropped to be told", () => seen.find((line) => "dropped" in line));
    expect(told).toMatchObject({ level: "warn", dropped });
    const flooded = seen.filter(({ msg }) => msg === "flood");
    expect(flooded).toHaveLength(lines - dropped);
    expect(flooded.map(({ line }) => line)).toEqual(flooded.map((_, index) => index + 1));
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    closeSync(end);
    await until("its last line", () => seen.find(({ msg }) => msg === "stopped"));
    input.close();
  });

  it("stops when it is told to", async () => {
    const { end } = openPipe();
    const { child, ended } = await flood(end, (args) => [process.execPath, args]);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    closeSync(end);
  });

  it.runIf(existsSync("/dev/full"))("goes on when the disk is full", async () => {
    const end = openSync("/dev/full", "a");
    const { child, ended, lines, dropped } = await flood(end, (args) => [process.execPath, args]);
    expect(dropped).toBe(lines);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    closeSync(end);
  });

  it("goes on when its reader is gone", async () => {
    const { child, ended, dropped } = await flood("pipe", (args) => [process.execPath, args]);
    expect(dropped).toBeGreaterThan(0);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  // script(1) is who reads the terminal, and waits itself for a pipe that nobody reads, as a terminal does after Ctrl-S.
  it.runIf(process.platform === "linux" && spawnSync("script", ["--version"]).status === 0)(
    "goes on where it is a terminal",
    async () => {
      const { end } = openPipe();
      const quoted = (args: string[]) => args.map((arg) => `'${arg}'`).join(" ");
      const { dropped } = await flood(end, (args) => [
        "script",
        ["--quiet", "--command", quoted([process.execPath, ...args]), "/dev/null"],
      ]);
      expect(dropped).toBeGreaterThan(1_000);
      closeSync(end);
    },
  );
});

describe("openLogOutput()", () => {
  /** Takes a line when it is let to, or fails as it is told. */
  function reader() {
    const taken: string[] = [];
    let finish: ((cause?: Error) => void) | undefined;
    const stream = new Writable({
      autoDestroy: false,
      decodeStrings: false,
      write(line: string, _, done) {
        taken.push(line);
        finish = done;
      },
    });
    return {
      stream,
      taken,
      async take(cause?: Error) {
        finish?.(cause);
        await new Promise((resolve) => setImmediate(resolve));
      },
    };
  }

  it("keeps the order, drops what is beyond its limit, and tells once all is written", async () => {
    const { stream, taken, take } = reader();
    const told: number[] = [];
    const output = openLogOutput(stream, { maxWaitingBytes: 4, onResume: (dropped) => told.push(dropped) });
    for (const line of ["a\n", "b\n", "c\n", "d\n", "e\n"]) output.write(line);
    expect([taken, output.dropped]).toEqual([["a\n"], 2]);
    await take();
    await take();
    expect(told).toEqual([]);
    await take();
    expect([taken, told]).toEqual([["a\n", "b\n", "c\n"], [2]]);
    output.write("f\n");
    await take();
    expect([taken.at(-1), told, output.dropped]).toEqual(["f\n", [2], 2]);
  });

  it("flushes no longer than it may", async () => {
    const { stream, take } = reader();
    const output = openLogOutput(stream);
    await output.flush({ withinMs: 60_000 });
    output.write("a\n");
    output.write("b\n");
    await output.flush({ withinMs: 1 });
    const flushed = output.flush({ withinMs: 60_000 });
    await take();
    await take();
    await flushed;
  });
});
