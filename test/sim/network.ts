import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { CommitOutcome } from "../../nats/mod.ts";
import type { Random } from "./random.ts";
import type { Entry, Store, Stored } from "./store.ts";
import { Signal, type Task, type Timeline, wait } from "./time.ts";

export type Value = MessageShape<DescMessage>;

/** How often each thing goes wrong, as probabilities. */
export interface Faults {
  /** A request never arrives. */
  requestLost: number;
  /** A request is carried out and its answer never arrives. */
  answerLost: number;
  /** A request arrives after its sender has given up. */
  requestLate: number;
  /** The server refuses a commit for a conflict that is none, or for having too much to do. */
  refused: number;
  deliveryLost: number;
  deliveryDoubled: number;
  ackLost: number;
  /** A schedule never fires: only the sweep is left. */
  timerLost: number;
  /** The provider or the mail server does not do what it is asked for. */
  outsideFails: number;
  /** The provider or the mail server does it, and nobody hears of it. */
  outsideMute: number;
}

export const noFaults: Faults = {
  requestLost: 0,
  answerLost: 0,
  requestLate: 0,
  refused: 0,
  deliveryLost: 0,
  deliveryDoubled: 0,
  ackLost: 0,
  timerLost: 0,
  outsideFails: 0,
  outsideMute: 0,
};

/** As bad as it gets in one run; most runs have a little of everything, some have a lot of one thing. */
export function randomFaults(random: Random): Faults {
  const faults = { ...noFaults };
  for (const name of Object.keys(faults) as (keyof Faults)[]) {
    if (random.chance(0.6)) faults[name] = random.next() ** 2 * (random.chance(0.15) ? 0.5 : 0.15);
  }
  // Few timers get to fire while there are faults.
  faults.timerLost = Math.min(1, faults.timerLost * 4);
  return faults;
}

/** How long a client waits for an answer. */
const TIMEOUT_MS = 5_000;
/** How long a message is on its way, each way. */
const HOP_MS = 2;

/** What is between a service and the store: it delays, and while there are faults it loses, refuses and forgets. */
export class Network {
  faults: Faults;
  readonly store: Store<Value>;
  readonly #time: Timeline;
  readonly #random: Random;

  constructor({
    store,
    time,
    random,
    faults,
  }: { store: Store<Value>; time: Timeline; random: Random; faults: Faults }) {
    this.store = store;
    this.#time = time;
    this.#random = random;
    this.faults = faults;
  }

  *commit(stream: string, entries: readonly Entry<Value>[]): Task<CommitOutcome> {
    if (this.#random.chance(this.faults.refused)) {
      yield this.hop();
      if (this.#random.chance(0.5)) return { kind: "conflict" };
      return { kind: "busy", code: 10_210, description: "too many batches in flight" };
    }
    return (
      (yield* this.#ask(() => this.store.commit(stream, entries))) ?? { kind: "unknown", cause: "no answer" }
    );
  }

  /** The leader's last message of a subject; null if there is no answer. */
  *last(stream: string, subject: string): Task<Stored<Value> | undefined | null> {
    const answer = yield* this.#ask(() => ({ found: this.store.last(stream, subject) }));
    return answer === undefined ? null : answer.found;
  }

  /** A message that nobody answers. */
  tell(run: () => void): void {
    if (!this.#random.chance(this.faults.ackLost)) this.#time.after(this.hop(), run);
  }

  hop(): number {
    return this.#random.delay(HOP_MS);
  }

  /** Undefined if there is no answer in time: then it was carried out, or not, or will be. */
  *#ask<T>(serve: () => T): Task<T | undefined> {
    const { faults } = this;
    const answer = new Signal<T | undefined>();
    if (!this.#random.chance(faults.requestLost)) {
      const late = this.#random.chance(faults.requestLate);
      this.#time.after(late ? this.#random.between(TIMEOUT_MS, 3 * TIMEOUT_MS) : this.hop(), () => {
        const served = serve();
        if (!this.#random.chance(faults.answerLost)) this.#time.after(this.hop(), () => answer.fire(served));
      });
    }
    this.#time.after(TIMEOUT_MS, () => answer.fire(undefined));
    return yield* wait(answer);
  }
}
