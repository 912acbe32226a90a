/** How values become positions along an axis. */
export interface Scale {
  readonly kind: "linear" | "log";
  readonly from: number;
  readonly to: number;
  /** Where the axis is labelled, in ascending order. */
  readonly ticks: readonly number[];
}

/** About as many as fit on an axis without being a ruler. */
const TICKS = { upward: 4, along: 8 } as const;
/** Room above the largest value, so that its line is not taken for the frame. */
const HEADROOM = 1.05;

/** From 0 to a round number above all values. */
export function linearScale(values: readonly number[]): Scale {
  const max = HEADROOM * values.reduce((most, value) => Math.max(most, value), 0);
  const step = max === 0 ? 1 : roundStep(max / TICKS.upward);
  const count = Math.max(1, Math.ceil(max / step));
  const ticks = Array.from({ length: count + 1 }, (_, i) => i * step);
  return { kind: "linear", from: 0, to: count * step, ticks };
}

/** From 0 to `to` exactly, as for time. */
export function exactScale(to: number): Scale {
  const step = roundStep(to / TICKS.along);
  const ticks = Array.from({ length: Math.floor(to / step) + 1 }, (_, i) => i * step);
  return { kind: "linear", from: 0, to, ticks };
}

/** From the power of ten below the smallest value to the one above the largest; one of 0 or less has no place on it. */
export function logScale(values: readonly number[]): Scale {
  const positive = values.filter((value) => value > 0);
  const low = positive.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = positive.reduce((most, value) => Math.max(most, value), 0);
  const from = positive.length === 0 ? 0 : Math.floor(Math.log10(low));
  const to = positive.length === 0 ? 1 : Math.max(from + 1, Math.ceil(Math.log10(high)));
  const ticks = Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
  return { kind: "log", from: 10 ** from, to: 10 ** to, ticks };
}

/** Where `value` is, from 0 at the start of the axis to 1 at its end; beyond them it is at them. */
export function positionOf(value: number, { kind, from, to }: Scale): number {
  const along = kind === "log" ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
  return Math.min(1, Math.max(0, along));
}

/** 1, 2 or 5 times a power of ten: the first that is not below `value`. */
function roundStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5].find((step) => step * power >= value) ?? 10) * power;
}
