import { setInterval } from "node:timers/promises";
import type { Logger } from "pino";
import { type CommitOutcome, monitorUrlsOf, readWriteErrors } from "../nats/mod.ts";

/** One commit without an answer may be a message that was lost on its way; the next one tells. */
const UNANSWERED = 2;
/** What waits is tried again within 12 s (`ack_wait`, and what a commit may take): after so long nothing has met the failure again. */
const HOLDS_MS = 15_000;
const LOOK_EVERY_MS = 2_000;
const TIMEOUT_MS = 1_000;

export interface StoreCheckOptions {
  /** The ledger. */
  readonly stream: string;
  /** Milliseconds of a clock that only goes forward. Default: the process's. */
  readonly now?: () => number;
}

/**
 * Whether the servers store what a service decides: by what became of its own commits, and by what the servers say of
 * themselves. A failure that is not met again is taken for over, since a service that is not ready may be asked nothing that it
 * could store.
 */
export class StoreCheck {
  readonly #stream: string;
  readonly #now: () => number;
  /** What each server said last, by its URL. */
  readonly #named = new Map<string, readonly string[]>();
  #unanswered = 0;
  #failedAt: number | undefined;

  constructor({ stream, now = () => performance.now() }: StoreCheckOptions) {
    this.#stream = stream;
    this.#now = now;
  }

  get ok(): boolean {
    const failing = this.#failedAt !== undefined && this.#now() - this.#failedAt < HOLDS_MS;
    return !failing && !this.unwritable.includes(this.#stream);
  }

  /** Streams, of all, that more than half of the servers do not write: one of three that does not is left out by the others. */
  get unwritable(): readonly string[] {
    const said = [...this.#named.values()];
    const streams = new Set(said.flat());
    return [...streams].filter(
      (name) => said.filter((names) => names.includes(name)).length * 2 > said.length,
    );
  }

  /** Takes note of what became of a commit. */
  committed(outcome: CommitOutcome["kind"]): void {
    switch (outcome) {
      case "committed":
        this.#unanswered = 0;
        this.#failedAt = undefined;
        return;
      case "storage":
        this.#failedAt = this.#now();
        return;
      case "unknown":
        this.#unanswered += 1;
        if (this.#unanswered >= UNANSWERED) this.#failedAt = this.#now();
        return;
      // Refused for what they are, before anything is written.
      case "conflict":
      case "busy":
      case "rejected":
        return;
      default:
        outcome satisfies never;
    }
  }

  /** The server was away: what it did not answer before says nothing of it now. */
  reconnected(): void {
    this.#unanswered = 0;
    this.#failedAt = undefined;
  }

  /** Takes note of the streams that a server says it does not write. While it says nothing, what it said last holds. */
  named(server: string, streams: readonly string[]): void {
    this.#named.set(server, streams);
  }
}

export interface WatchOptions {
  /** Comma-separated base URLs of the servers' monitoring. Default: none, and nothing is asked. */
  readonly monitorUrl: string | undefined;
  readonly log: Pick<Logger, "debug" | "info" | "error">;
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /** Default 2,000. */
  readonly everyMs?: number;
}

/** Asks the servers from time to time which streams they do not write, and tells `check`. Resolves when it is ended. */
export async function watchWriteErrors(check: StoreCheck, options: WatchOptions): Promise<void> {
  const { monitorUrl, log, signal, everyMs = LOOK_EVERY_MS } = options;
  const urls = monitorUrlsOf(monitorUrl);
  if (urls.length === 0) return;
  let told = "";
  const ask = async (url: string) => {
    try {
      check.named(url, await readWriteErrors(url, { timeoutMs: TIMEOUT_MS }));
    } catch (cause) {
      // It is away or starts, which the connection shows as well.
      if (!signal.aborted) log.debug({ err: cause, url }, "a server does not say which streams it writes");
    }
  };
  try {
    for await (const _ of setInterval(everyMs, undefined, { signal })) {
      await Promise.all(urls.map(ask));
      const now = check.unwritable.join(", ");
      if (now === told) continue;
      told = now;
      if (now === "") log.info({}, "the servers write all streams again");
      else log.error({ streams: now }, "the servers do not write, and will not before they are restarted");
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
  }
}
