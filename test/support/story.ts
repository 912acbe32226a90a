import type { Ledgers, Stored } from "./audit/mod.ts";

/** `GET /orders/{id}/timeline`, as far as tests look at it. */
export interface TimelineView {
  order_id: string;
  trace_id: string;
  trace_url?: string;
  truncated?: true;
  entries: TimelineEntryView[];
}

export interface TimelineEntryView {
  at: string;
  after_ms: number;
  stream: string;
  sequence: number;
  subject: string;
  kind: string;
  service: string;
  says: string;
  decision: number;
  cause?: { stream: string; sequence: number };
  delivery?: number;
  timer_at?: string;
  timer_cancelled?: true;
  traceparent?: string;
  dead_letter?: { id: string; status: string; deliveries: number; attempt: number };
  waits_for?: { service: string; progress: string }[];
  details?: Record<string, string>;
}

/** `STREAM/sequence` of every stored message that is about the order, found by looking at all that there is. */
export function placesAbout(ledgers: Ledgers, orderId: string): string[] {
  const isAbout = ({ subject, headers }: Stored) =>
    [subject, headers.get("dead-letter-subject")].some((text) => text.split(".").includes(orderId));
  return Object.entries(ledgers).flatMap(([stream, messages]) =>
    messages.filter(isAbout).map(({ seq }) => `${stream}/${seq}`),
  );
}

/** What is wrong with the order of a timeline; empty if nothing is. */
export function faultsOf({ entries }: TimelineView): string[] {
  const faults: string[] = [];
  const told = new Map<string, number>();
  const last = new Map<string, number>();
  for (const [index, { stream, sequence, cause, decision, dead_letter }] of entries.entries()) {
    const place = `${stream}/${sequence}`;
    if (told.has(place)) faults.push(`${place} is told twice`);
    if (sequence <= (last.get(stream) ?? 0))
      faults.push(`${place} comes after what follows it in its stream`);
    if (cause !== undefined && !told.has(`${cause.stream}/${cause.sequence}`))
      faults.push(`${place} comes before its cause`);
    const [, , , parkedStream, parkedSequence] = (dead_letter && `.${dead_letter.id}`)?.split(".") ?? [];
    if (dead_letter && !told.has(`${parkedStream}/${parkedSequence}`))
      faults.push(`${place} comes before its message`);
    const before = entries[index - 1];
    if (before === undefined ? decision !== 1 : ![before.decision, before.decision + 1].includes(decision))
      faults.push(`${place} is of decision ${decision}, after ${before?.decision}`);
    if (before?.decision === decision && before.stream !== stream)
      faults.push(`decision ${decision} is in two streams`);
    told.set(place, index);
    last.set(stream, sequence);
  }
  return faults;
}
