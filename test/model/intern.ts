/** Gives equal things one small number, so that a state is a short row of numbers. */
export class Interner<T> {
  readonly #ids = new Map<string, number>();
  readonly #values: T[] = [];
  readonly #keyOf: (value: T) => string;

  constructor(keyOf: (value: T) => string) {
    this.#keyOf = keyOf;
  }

  /** From 1 on: 0 stands for nothing. */
  id(value: T): number {
    const key = this.#keyOf(value);
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#values.push(value);
      this.#ids.set(key, id);
    }
    return id;
  }

  /** @throws {RangeError} If no value has this number. */
  get(id: number): T {
    const value = this.#values[id - 1];
    if (value === undefined) throw new RangeError(`Cannot look up number ${id}: there are ${this.size}`);
    return value;
  }

  get size(): number {
    return this.#values.length;
  }
}

/** A text that is the same for equal plain data. */
export function textOf(value: unknown): string {
  return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}n` : part));
}
