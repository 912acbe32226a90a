/**
 * Everything that the services of one order, and what is under way between them, can be in. All numbers are those of an
 * interner of the explorer; 0 is nothing.
 */
export interface State {
  /** The last value of each entity, in the order of `cells`. */
  readonly cells: readonly number[];
  /** The message that each schedule would fire, in the order of `World.timers`. */
  readonly timers: readonly number[];
  /** What the payment provider has done. */
  readonly provider: number;
  /** Effects outside the ledgers that are under way, ascending. Equal ones count once. */
  readonly flights: readonly number[];
  /**
   * Messages that were stored, ascending, as twice their number, plus one while they wait for an acknowledgement. One
   * that is acknowledged can come again all the same, any number of times.
   */
  readonly messages: readonly number[];
}

export function encode(state: State): string {
  const { cells, timers, provider, flights, messages } = state;
  return String.fromCharCode(...cells, ...timers, provider, flights.length, ...flights, ...messages);
}

export function decode(text: string, counts: { cells: number; timers: number }): State {
  const numbers = Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
  const timersAt = counts.cells;
  const providerAt = timersAt + counts.timers;
  const flightsAt = providerAt + 2;
  const messagesAt = flightsAt + (numbers[providerAt + 1] ?? 0);
  return {
    cells: numbers.slice(0, timersAt),
    timers: numbers.slice(timersAt, providerAt),
    provider: numbers[providerAt] ?? 0,
    flights: numbers.slice(flightsAt, messagesAt),
    messages: numbers.slice(messagesAt),
  };
}

export function isPending(entry: number): boolean {
  return (entry & 1) === 1;
}

/** The messages with `id` among them, waiting or acknowledged. */
export function withMessage(messages: readonly number[], id: number, waits: boolean): readonly number[] {
  const entry = id * 2 + (waits ? 1 : 0);
  const at = messages.findIndex((other) => other >> 1 >= id);
  if (at < 0) return [...messages, entry];
  const found = (messages[at] ?? 0) >> 1 === id;
  return messages.toSpliced(at, found ? 1 : 0, entry);
}

export function withFlight(flights: readonly number[], id: number): readonly number[] {
  return flights.includes(id) ? flights : [...flights, id].sort((a, b) => a - b);
}

export function without<T>(list: readonly T[], value: T): readonly T[] {
  return list.filter((other) => other !== value);
}
