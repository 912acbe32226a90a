import type { Fault } from "./cascade_side.ts";
import type { Database } from "./catchup_shop.ts";
import type { Result } from "./report.ts";

/** What the command line says, for every benchmark; each takes what it needs of it. */
export interface Options {
  /** Orders in flight, one level after the other. */
  readonly concurrency: readonly number[];
  /** Length of each measured window. */
  readonly seconds: number;
  readonly targets: readonly string[];
  /** Of `checkout`, `accept` and `catchup`: how often all is measured; figures are medians. */
  readonly repeat: number;
  /** Whether fsyncs are counted, in a run of its own. */
  readonly syncs: boolean;
  /** Of `cascade`: orders a second. */
  readonly rate: number;
  /** Of `cascade`: seconds of load before the fault, with it, and after it. */
  readonly before: number;
  readonly fault: number;
  readonly after: number;
  /** Of `cascade`: what is done to inventory, each in a run of its own. */
  readonly faults: readonly Fault[];
  /** Of `growth` and `export`: finished orders that the shop keeps while it is measured, each in turn. */
  readonly orders: readonly number[];
  /** Of `catchup`: how many events the analytics miss. */
  readonly events: number;
  /** Of `catchup`: orders a second while it is measured. */
  readonly steady: number;
  /** Of `catchup`: what they write to, each in a shop of its own. */
  readonly databases: readonly Database[];
}

/** What a benchmark works with. */
export interface Context {
  readonly options: Options;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Says what is being done now. */
  show(text: string): void;
  /** Says what has come out, for good. */
  tell(line: string): void;
  /** Where all folders are made, on the disk that the stores are on. */
  readonly home: string;
  /** Makes a folder for somebody's state. All are removed when the program ends. */
  folder(name: string): string;
}

/** A subcommand of `npm run bench` and a section of docs/benchmarks.md. */
export interface Benchmark {
  readonly name: string;
  /** One line for `--help`. */
  readonly description: string;
  /** @throws The signal's reason, if it aborts; then nothing is written. */
  run(context: Context): Promise<Result>;
}
