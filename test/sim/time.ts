/**
 * Work that takes virtual time: it yields for how many milliseconds it waits, or what it waits for. Between two yields
 * nothing else happens.
 */
export type Task<T> = Generator<number | Signal<unknown>, T, void>;

/** Something that happens once, and whoever waits for it goes on. */
export class Signal<T> {
  #happened = false;
  #value: T | undefined;
  #waiting: (() => void)[] = [];

  /** @returns False if it has happened before: then nothing changes. */
  fire(value: T): boolean {
    if (this.#happened) return false;
    this.#happened = true;
    this.#value = value;
    for (const resume of this.#waiting) resume();
    return true;
  }

  whenFired(resume: () => void): void {
    if (this.#happened) resume();
    else this.#waiting.push(resume);
  }

  get value(): T {
    return this.#value as T;
  }
}

/** What work belongs to: it stops with its owner, and waits while its owner stands still. */
export interface Owner {
  /** Another number after each crash: what was begun before is gone. */
  life: number;
  /** Stands still until then. */
  pausedUntil: number;
}

interface Due {
  at: number;
  order: number;
  run(): void;
}

/** Virtual time: it jumps from one event to the next, and events of one moment happen in the order they were planned in. */
export class Timeline {
  now = 0;
  events = 0;
  readonly #heap: Due[] = [];
  #order = 0;

  /** Nothing is left to happen. */
  get idle(): boolean {
    return this.#heap.length === 0;
  }

  after(ms: number, run: () => void): void {
    const due = { at: this.now + ms, order: ++this.#order, run };
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && precedes(due, heap[parent] as Due); parent = (at - 1) >> 1) {
      heap[at] = heap[parent] as Due;
      at = parent;
    }
    heap[at] = due;
  }

  /** Lets the next event happen. */
  step(): void {
    const [next] = this.#heap;
    const last = this.#heap.pop();
    if (next === undefined || last === undefined) return;
    if (last !== next) this.#sift(last);
    this.now = next.at;
    this.events += 1;
    next.run();
  }

  /** Begins a task at once. */
  start<T>(owner: Owner, task: Task<T>, done?: (result: T) => void): void {
    const { life } = owner;
    const resume = (): void => {
      if (owner.life !== life) return;
      if (owner.pausedUntil > this.now) {
        this.after(owner.pausedUntil - this.now, resume);
        return;
      }
      const step = task.next();
      if (step.done) done?.(step.value);
      else if (typeof step.value === "number") this.after(step.value, resume);
      else step.value.whenFired(resume);
    };
    resume();
  }

  #sift(moved: Due): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const right = heap[child + 1];
      if (right !== undefined && precedes(right, heap[child] as Due)) child += 1;
      const lower = heap[child];
      if (lower === undefined || precedes(moved, lower)) break;
      heap[at] = lower;
      at = child;
    }
    heap[at] = moved;
  }
}

function precedes(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

export function* wait<T>(signal: Signal<T>): Task<T> {
  yield signal as Signal<unknown>;
  return signal.value;
}
