/** Work on one id, one after the other: two effects on one entity never overlap. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** Runs `work` after all earlier work on the same id, whatever became of it. */
  async take<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(id) ?? Promise.resolve();
    const run = before.then(work);
    const turn = run.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(id, turn);
    try {
      return await run;
    } finally {
      if (this.#last.get(id) === turn) this.#last.delete(id);
    }
  }
}
