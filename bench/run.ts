import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { dataDirOf, isAlive, makeFolder, readRunningShop } from "../nats/mod.ts";
import { NatsServerError } from "../tools/nats_server.mjs";
import { StartError } from "../tools/start_error.ts";
import type { Benchmark, Options } from "./benchmark.ts";
import { benchmarks } from "./benchmarks.ts";
import { machineFacts, versionFacts } from "./machine.ts";
import { openProgress } from "./progress.ts";
import { type Result, type Setting, section, writeSection } from "./report.ts";

export interface RunOptions extends Options {
  readonly dataDir: string;
  readonly json?: string;
  /** False to write none. */
  readonly docs: string | false;
}

/** One Ctrl-C under npm arrives twice: from the terminal, and passed on. What comes this close to the first is the same. */
const SAME_KEY_PRESS_MS = 500;
const INTERRUPTED = 130;
const MISTAKEN = 2;
/** Options that name places of this machine. */
const folderOptions: ReadonlySet<string> = new Set(["--data-dir", "--json", "--docs"]);
const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs one benchmark after the other and writes what they find, each as soon as it is done.
 * @returns The exit code.
 */
export async function runBenchmarks(chosen: readonly Benchmark[], options: RunOptions): Promise<number> {
  using interrupt = watchForInterrupt();
  const { signal } = interrupt;
  const unusable = findUnusable(options);
  if (unusable !== undefined) {
    console.error(`error: ${unusable}`);
    return MISTAKEN;
  }
  const running = readRunningShop(dataDirOf(process.env));
  if (running !== undefined && isAlive(running.pid)) {
    console.error(
      `a shop runs here (process ${running.pid}) and shares the cores with what is measured: stop it first`,
    );
  }
  const results: Record<string, Result> = {};
  using folder = temporaryFolder(options.dataDir);
  const setting: Setting = {
    date: new Date(),
    command: commandLine(),
    machine: machineFacts(folder.path),
    versions: versionFacts(),
  };
  const run = async (benchmark: Benchmark) => {
    // Ends before the figures are printed, which may go to the same terminal.
    using progress = openProgress();
    const { show, tell } = progress;
    const { path: home, make } = folder;
    return await benchmark.run({ options, signal, show, tell, home, folder: make });
  };
  try {
    for (const benchmark of chosen) {
      const result = await run(benchmark);
      results[benchmark.name] = result;
      publish(benchmark, { result, setting, options });
    }
  } catch (cause) {
    if (signal.aborted) {
      console.error("stopped: what was not done is not written");
      return INTERRUPTED;
    }
    if (!(cause instanceof StartError || cause instanceof NatsServerError)) throw cause;
    console.error(cause.message);
    return 1;
  } finally {
    if (options.json !== undefined) {
      const figures = { ...setting, options: withoutFolders(options), results };
      writeFileSync(options.json, `${JSON.stringify(figures, undefined, 2)}\n`);
    }
  }
  return Object.values(results).some(({ problems }) => problems.length > 0) ? 1 : 0;
}

/** Said at once, and not when everything has been measured. */
function findUnusable({ dataDir, json, docs }: RunOptions): string | undefined {
  const folders = [json, docs === false ? undefined : docs].flatMap((file) => (file ? [dirname(file)] : []));
  try {
    makeFolder(dataDir);
    for (const folder of [dataDir, ...folders]) accessSync(folder, constants.W_OK);
    return undefined;
  } catch (cause) {
    return `Cannot write where it was told to: ${(cause as Error).message}`;
  }
}

function publish(
  { name }: Benchmark,
  { result, setting, options }: { result: Result; setting: Setting; options: RunOptions },
): void {
  const text = section(result, setting);
  process.stdout.write(`${text}\n\n`);
  for (const problem of result.problems) console.error(`${name}: ${problem}`);
  if (options.docs === false) return;
  for (const [file, content] of Object.entries(result.files ?? {})) {
    writeFileSync(join(dirname(options.docs), file), content);
  }
  writeSection(options.docs, { key: name, text, keys: benchmarks.map((benchmark) => benchmark.name) });
}

/** Such files are committed, and where things are on this machine is nobody's business. */
function withoutFolders({ dataDir: _dataDir, json: _json, docs: _docs, ...options }: RunOptions): Options {
  return options;
}

/** As a person would type it again; folders of this machine are left out. */
function commandLine(): string {
  const args = process.argv.slice(2);
  const kept = args.filter((arg, i) => {
    const option = arg.split("=")[0] as string;
    return !folderOptions.has(option) && !folderOptions.has(args[i - 1] ?? "");
  });
  return ["npm run bench", ...(kept.length > 0 ? ["--", ...kept] : [])].join(" ");
}

function temporaryFolder(dataDir: string): Disposable & { path: string; make(name: string): string } {
  const path = mkdtempSync(join(resolve(dataDir), "bench-"));
  let made = 0;
  const remove = () => rmSync(path, { recursive: true, force: true });
  process.on("exit", remove);
  return {
    path,
    make(name) {
      made += 1;
      const folder = join(path, `${made}-${name}`);
      mkdirSync(folder);
      return folder;
    },
    [Symbol.dispose]() {
      process.off("exit", remove);
      remove();
    },
  };
}

/** Its signal aborts on Ctrl-C. A second one ends the process at once, and what it has started with it. */
function watchForInterrupt(): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  let at = 0;
  const stop = () => {
    if (!controller.signal.aborted) {
      at = performance.now();
      controller.abort();
    } else if (performance.now() - at > SAME_KEY_PRESS_MS) process.exit(INTERRUPTED);
  };
  for (const name of stopSignals) process.on(name, stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of stopSignals) process.off(name, stop);
    },
  };
}
