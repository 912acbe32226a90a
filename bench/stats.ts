/** Of a set of latencies, in milliseconds. All NaN if there were none. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function latencyOf(samples: readonly number[]): Latency {
  const sorted = Float64Array.from(samples).sort();
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: quantile(sorted, 1) };
}

/**
 * The smallest value that at least `share` of all values do not exceed: one that was measured, never one in between.
 * NaN for no values.
 * @param sorted In ascending order.
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}

/** The middle one, or the mean of the two in the middle. NaN for no values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] as number;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/**
 * The medians of what runs of one and the same thing measured: number by number through objects, arrays and maps of the
 * same shape. What is no number is the first run's.
 */
export function medianOf<T>(runs: readonly [T, ...T[]]): T {
  const [first] = runs;
  if (runs.length === 1) return first;
  if (typeof first === "number") return median(runs as unknown as number[]) as T;
  if (typeof first !== "object" || first === null) return first;
  const parts = Object.entries(first).map(([key, value]) => {
    const values = runs
      .map((run) => (run as Record<string, unknown>)[key])
      .filter((one) => one !== undefined);
    return [key, values.length === 0 ? value : medianOf(values as [unknown])];
  });
  return (Array.isArray(first) ? parts.map(([, value]) => value) : Object.fromEntries(parts)) as T;
}
