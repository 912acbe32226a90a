import type { JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Log } from "./connection.ts";
import { type ConsumerName, nameOf } from "./consumer_name.ts";
import { type ReplayMark, readReplayMark } from "./replay_mark.ts";

/**
 * A mark is trusted for so long from when it was asked for. A replay waits for longer between writing its mark and
 * resetting the consumer, so that whoever gets what is replayed, and trusts a mark, has asked for it after it was written:
 * no process of any instance has to be told.
 */
export const MARK_TRUST_MS = 6_000;
/** A pull is a reason to ask again for a mark that is older than this. */
const REFRESH_AFTER_MS = 1_000;

/** What the last replay of its consumer says of a delivery. */
export interface Place {
  /** It was acknowledged before. */
  readonly replayed: boolean;
  /** It was delivered before, whatever the server counts. */
  readonly tried: boolean;
  /** It was parked: there is a dead letter of it, which somebody decides on. */
  readonly parked: boolean;
}

const nowhere: Place = { replayed: false, tried: false, parked: false };

interface Known {
  readonly mark: ReplayMark | undefined;
  readonly parked: ReadonlySet<number>;
  /** Unix time in milliseconds. */
  readonly storedUntil: number;
  /** Of this process's clock, before the question was sent. */
  readonly askedAt: number;
}

/** What was replayed to the consumers of a process. */
export class Replays {
  readonly #connection: NatsConnection;
  readonly #log: Log;
  readonly #trustMs: number;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<void>>();

  /** @param options.trustMs Default {@linkcode MARK_TRUST_MS}. What replays waits for longer. */
  constructor(
    connection: NatsConnection,
    { log, trustMs = MARK_TRUST_MS }: { log: Log; trustMs?: number | undefined },
  ) {
    this.#connection = connection;
    this.#trustMs = trustMs;
    this.#log = log;
  }

  /** Before each pull, so that hardly any delivery has to wait for an answer. A pull lasts 5 s, less than a mark is trusted. */
  refresh(consumer: ConsumerName): void {
    const known = this.#known.get(nameOf(consumer));
    if (known === undefined || performance.now() - known.askedAt > REFRESH_AFTER_MS) void this.#ask(consumer);
  }

  /**
   * What a delivery that has arrived has to wait for before {@linkcode placeOf} is asked about it: nothing, unless the mark is
   * no longer trusted. Does not reject.
   */
  ready(consumer: ConsumerName): Promise<void> | undefined {
    const known = this.#known.get(nameOf(consumer));
    return known !== undefined && this.#isTrusted(known) ? undefined : this.#ask(consumer);
  }

  /** Where a delivery stands by a mark that was asked for after it was sent; undefined if there is no such mark. */
  placeOf(msg: JsMsg): Place | undefined {
    const known = this.#known.get(nameOf({ stream: msg.info.stream, name: msg.info.consumer }));
    return known !== undefined && this.#isTrusted(known) ? placeIn(known, msg) : undefined;
  }

  #isTrusted({ askedAt }: Known): boolean {
    return performance.now() - askedAt < this.#trustMs;
  }

  #ask(consumer: ConsumerName): Promise<void> {
    const name = nameOf(consumer);
    const asking = this.#asking.get(name) ?? this.#read(consumer).finally(() => this.#asking.delete(name));
    this.#asking.set(name, asking);
    return asking;
  }

  async #read(consumer: ConsumerName): Promise<void> {
    const askedAt = performance.now();
    try {
      const { mark } = await readReplayMark(this.#connection, consumer);
      const storedUntil = Date.parse(mark?.stored_until ?? "");
      this.#known.set(nameOf(consumer), { mark, parked: new Set(mark?.parked), storedUntil, askedAt });
    } catch (cause) {
      if (this.#connection.isClosed()) return;
      this.#log.warn({ err: cause, consumer: nameOf(consumer) }, "cannot look up what was replayed");
    }
  }
}

function placeIn({ mark, parked, storedUntil }: Known, { seq, time }: JsMsg): Place {
  if (mark === undefined || seq > Math.max(mark.up_to, mark.delivered)) return nowhere;
  if (time.getTime() > storedUntil) return nowhere;
  return { replayed: seq <= mark.up_to, tried: seq <= mark.delivered, parked: parked.has(seq) };
}
