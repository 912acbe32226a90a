import { InvalidArgumentError } from "commander";
import type { ReplayFrom } from "../nats/mod.ts";

/** RFC 3339, with its zone: a time without one is another time elsewhere. */
const TIME = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/**
 * Reads `start`, a sequence, or a time such as 2026-01-31T08:00:00Z.
 * @throws {InvalidArgumentError} If it is none of them.
 */
export function readFrom(text: string): ReplayFrom {
  if (text === "start") return { kind: "start" };
  if (/^[+-]?[\d._]+$/.test(text)) {
    const seq = /^[1-9]\d*$/.test(text) ? Number(text) : 0;
    if (!Number.isSafeInteger(seq) || seq < 1) {
      throw new InvalidArgumentError("A sequence is a positive whole number.");
    }
    return { kind: "sequence", seq };
  }
  const time = new Date(TIME.test(text) ? text.replace(" ", "T") : Number.NaN);
  if (Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError(
      "It is neither start, nor a sequence, nor a time such as 2026-01-31T08:00:00Z.",
    );
  }
  return { kind: "time", time };
}
