import { styleText } from "node:util";
import { type Options, Presets, SingleBar } from "cli-progress";

/** Where a command writes, and how. Results go to `out`, what is about them to `err`. */
export interface Output {
  readonly out: Stream;
  readonly err: Stream;
}

/** Standard output or what stands in for it. */
export type Stream = NodeJS.WritableStream & { readonly isTTY?: boolean };

/** What a command comes to: 0 done, 1 not all of it or something is wrong, 2 it was called in a wrong way. */
export type ExitCode = 0 | 1 | 2;

/** A line fits a terminal of this width. */
export const LINE_WIDTH = 100;

/**
 * A reader of the output may go away at any time, as `head` does. That ends no work: what is written from then on goes nowhere,
 * and the command ends with what it comes to. Without this, the first write would end the process with a stack trace.
 */
export function outliveReaders({ out, err }: Output): void {
  for (const stream of [out, err]) stream.on("error", () => undefined);
}

/** Why results did not get out, in words; undefined if they did, or if the reader wanted no more. */
export function lossOf({ out }: Output): string | undefined {
  const cause = "errored" in out && out.errored instanceof Error ? out.errored : undefined;
  if (cause === undefined || ("code" in cause && cause.code === "EPIPE")) return undefined;
  return `Cannot write to standard output: ${cause.message}`;
}

export function print({ out }: Output, text: string): void {
  out.write(`${text}\n`);
}

export function printJson(output: Output, value: unknown): void {
  print(output, JSON.stringify(value, undefined, 2));
}

export function note({ err }: Output, text: string): void {
  err.write(`${text}\n`);
}

/** Only on a terminal, and not if NO_COLOR is set. */
export function colour(
  { out }: Output,
  format: Parameters<typeof styleText>[0],
  text: string,
  stream: Stream = out,
): string {
  return stream.isTTY ? styleText(format, text, { stream }) : text;
}

/** Columns as wide as their widest cell, two blanks apart. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, index) => Math.max(cell.length, widest[index] ?? 0)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** At most as long as a line, less `indent`. */
export function shorten(text: string, indent = 0): string {
  const room = LINE_WIDTH - indent;
  return text.length <= room ? text : `${text.slice(0, room - 1)}…`;
}

/** How far a long command is: a bar on a terminal; elsewhere nothing, where lines tell, or a line now and then. */
export interface Progress extends Disposable {
  /** @param count Default: 1. */
  step(count?: number): void;
}

/** @param options.linesEveryMs Where there is no terminal, a line this often. Default: none. */
export function progress(
  { err }: Output,
  what: string,
  total: number,
  { linesEveryMs = Number.POSITIVE_INFINITY }: { linesEveryMs?: number } = {},
): Progress {
  if (!err.isTTY || total === 0) {
    let done = 0;
    let toldAt = performance.now();
    return {
      step: (count = 1) => {
        done += count;
        if (performance.now() - toldAt < linesEveryMs) return;
        toldAt = performance.now();
        err.write(`${what} ${done}/${total}\n`);
      },
      [Symbol.dispose]: () => undefined,
    };
  }
  const options: Options = {
    format: `${what} {bar} {value}/{total}, {eta_formatted} to go`,
    stream: err,
    hideCursor: true,
  };
  const bar = new SingleBar(options, Presets.shades_classic);
  bar.start(total, 0);
  return { step: (count = 1) => bar.increment(count), [Symbol.dispose]: () => bar.stop() };
}
