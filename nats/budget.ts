const SECOND_MS = 1_000;
/** How often what is over is forgotten, in moments that were given out. */
const FORGET_EVERY = 10_000;

/** Gives out moments, so many for each second: what many want to do at once is spread. */
export class Budget {
  readonly #perSecond: number;
  /** How many were given out, by second of Unix time. */
  readonly #taken = new Map<number, number>();
  /** Where to look on from a second that is full. */
  readonly #next = new Map<number, number>();
  #given = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** `wanted`, or the first moment after it that is left. Both are Unix times in milliseconds. */
  take(wanted: number): number {
    const own = Math.floor(wanted / SECOND_MS);
    const second = this.#firstFree(own);
    const before = this.#taken.get(second) ?? 0;
    this.#taken.set(second, before + 1);
    if (++this.#given % FORGET_EVERY === 0) this.#forget();
    return second === own ? wanted : Math.round((second + before / this.#perSecond) * SECOND_MS);
  }

  #firstFree(from: number): number {
    const passed: number[] = [];
    let second = from;
    while ((this.#taken.get(second) ?? 0) >= this.#perSecond) {
      passed.push(second);
      second = this.#next.get(second) ?? second + 1;
    }
    // A later look from there takes one step.
    for (const full of passed) this.#next.set(full, second);
    return second;
  }

  #forget(): void {
    const now = Math.floor(Date.now() / SECOND_MS);
    for (const map of [this.#taken, this.#next]) {
      for (const second of map.keys()) if (second < now) map.delete(second);
    }
  }
}
