import { type DeadLetter, inspect, type LetterOutcome } from "../../nats/mod.ts";
import type { LetterChange, LetterDetails, LetterSummary } from "./api.ts";

/** A dead letter as outsiders see it: one of a list. */
export function letterSummary(letter: DeadLetter): LetterSummary {
  const { id, status, service, type, subject, stream, sequence, error, attempt, deliveries, by, note } =
    letter;
  return {
    id,
    status,
    service,
    type,
    subject,
    stream,
    sequence,
    error,
    attempt,
    deliveries,
    parked_at: letter.parkedAt.toISOString(),
    changed_at: letter.changedAt.toISOString(),
    ...(by !== "" && { by }),
    ...(note !== "" && { note }),
  };
}

/** All that is known of one. A payload that cannot be decoded is shown as it is. */
export function letterDetails(letter: DeadLetter): LetterDetails {
  const inspection = inspect(letter);
  const headers = Object.fromEntries(
    letter.headers.keys().map((name) => [name, letter.headers.values(name)]),
  );
  const bytes = Buffer.from(letter.data);
  const payload =
    inspection.kind === "decodes"
      ? { schema: inspection.schema, value: inspection.value, unknown_bytes: inspection.unknownBytes }
      : {
          ...(inspection.schema !== undefined && { schema: inspection.schema }),
          decode_error: inspection.error,
          hex: bytes.toString("hex"),
          base64: bytes.toString("base64"),
        };
  return { ...letterSummary(letter), stored_at: letter.storedAt.toISOString(), headers, payload };
}

export function outcomeJson(result: LetterOutcome): LetterChange {
  const { id, outcome, detail, letter, checked, unchecked } = result;
  return {
    id,
    outcome,
    detail,
    ...(letter && { type: letter.type, service: letter.service }),
    ...(checked && { checked: [...checked] }),
    ...(unchecked && { unchecked: [...unchecked] }),
  };
}
