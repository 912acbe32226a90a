import { InvalidArgumentError } from "commander";

/** A time that a person has typed: `2026-01-31T08:00:00Z`, or `2026-01-31` for its first moment in UTC. */
export function time(text: string): Date {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError("It is no time.");
  return date;
}
