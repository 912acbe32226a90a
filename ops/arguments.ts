import { InvalidArgumentError } from "commander";
import type { ReplayFrom } from "../nats/mod.ts";

/** A day, or RFC 3339 with its zone: a time without one is another time elsewhere. */
const TIME = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2}))?$/;

/**
 * A time that a person has typed: `2026-01-31T08:00:00Z`, or `2026-01-31` for its first moment in UTC.
 * @throws {InvalidArgumentError} If it is neither.
 */
export function time(text: string): Date {
  const read = readTime(text);
  if (read === undefined) {
    throw new InvalidArgumentError("It is no time such as 2026-01-31T08:00:00Z, nor a day.");
  }
  return read;
}

/**
 * Reads `start`, a sequence, or a {@linkcode time}.
 * @throws {InvalidArgumentError} If it is none of them.
 */
export function replayFrom(text: string): ReplayFrom {
  if (text === "start") return { kind: "start" };
  if (/^[+-]?[\d._]+$/.test(text)) {
    const seq = /^[1-9]\d*$/.test(text) ? Number(text) : 0;
    if (!Number.isSafeInteger(seq) || seq < 1) {
      throw new InvalidArgumentError("A sequence is a positive whole number.");
    }
    return { kind: "sequence", seq };
  }
  const read = readTime(text);
  if (read === undefined) {
    throw new InvalidArgumentError(
      "It is neither start, nor a sequence, nor a time such as 2026-01-31T08:00:00Z, nor a day.",
    );
  }
  return { kind: "time", time: read };
}

function readTime(text: string): Date | undefined {
  const day = text.slice(0, 10);
  const read = new Date(TIME.test(text) ? text.replace(" ", "T") : Number.NaN);
  // To JavaScript 31 February is 3 March.
  const isThere = !Number.isNaN(read.getTime()) && new Date(day).toISOString().startsWith(day);
  return isThere ? read : undefined;
}
