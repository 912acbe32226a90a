import type { Writable } from "node:stream";

/** Lines that have not been written yet may take so much: some five thousand of them, which is seconds of a busy service. */
export const MAX_WAITING_BYTES = 1024 * 1024;

export interface LogOutputOptions {
  /** Default {@linkcode MAX_WAITING_BYTES}. */
  maxWaitingBytes?: number;
  /** Called when lines can be written again and nothing waits, with how many were dropped since the last call. */
  onResume?: (dropped: number) => void;
}

/** Lines to a terminal, a pipe or a file, for a process that never waits for who reads them. */
export interface LogOutput {
  /** Writes a line with its line break, at once if the system takes it; else it waits, or is dropped. */
  write(line: string): void;
  /** Lines that nobody will see. */
  readonly dropped: number;
  /** Resolves when nothing waits any more, or after `withinMs`. */
  flush(options: { withinMs: number }): Promise<void>;
}

/**
 * Lines are written one at a time, so that those of several processes which share a pipe are not mixed up. They wait in
 * memory while the reader is slow. Those that do not fit are dropped and counted, as are those that cannot be written: the
 * disk is full, the reader is gone.
 */
export function openLogOutput(stream: Writable, options: LogOutputOptions = {}): LogOutput {
  const { maxWaitingBytes = MAX_WAITING_BYTES, onResume } = options;
  neverBlock(stream);
  const waiting: string[] = [];
  let waitingBytes = 0;
  let dropped = 0;
  let told = 0;
  /** The last line may have been cut off, so that the next one begins a line of its own. */
  let broken = false;
  let idle = Promise.withResolvers<void>();
  idle.resolve();

  const isIdle = () => waiting.length === 0 && stream.writableLength === 0;
  const send = (line: string) => {
    const whole = broken ? `\n${line}` : line;
    broken = false;
    stream.write(whole, (cause) => {
      if (cause) {
        dropped += 1;
        broken = true;
      }
      // What the system took at once is not in `writableLength` any more.
      while (waiting.length > 0 && stream.writableLength === 0) {
        const next = waiting.shift() as string;
        waitingBytes -= next.length;
        send(next);
      }
      if (!isIdle()) return;
      idle.resolve();
      if (cause || dropped === told) return;
      const untold = dropped - told;
      told = dropped;
      onResume?.(untold);
    });
  };

  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      if (isIdle()) {
        send(line);
        if (!isIdle()) idle = Promise.withResolvers();
      } else if (waitingBytes + line.length > maxWaitingBytes) {
        dropped += 1;
      } else {
        waiting.push(line);
        waitingBytes += line.length;
      }
    },
    async flush({ withinMs }) {
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, withinMs);
      await Promise.race([idle.promise, late.promise]);
      clearTimeout(timer);
    },
  };
}

/**
 * Has writes to a standard output return at once, whoever reads it. Node sees to that for pipes on Linux and macOS, and not for
 * terminals, where Ctrl-S would stop the process. An output that fails ends no process.
 */
export function neverBlock(stream: Writable & { isTTY?: boolean; _handle?: Blocking }): void {
  // Who wrote is told by the callback.
  stream.on("error", () => undefined);
  if (stream.isTTY) stream._handle?.setBlocking?.(false);
}

/** What Node's handle of a terminal is not documented to have. */
interface Blocking {
  setBlocking?(blocking: boolean): void;
}
