import type { Batch } from "./batch.ts";
import type { CommitOutcome } from "./commit.ts";
import { type Outgoing, splitSubject } from "./contracts/contract.ts";
import type { EffectDescription } from "./handler.ts";
import { type Incoming, messageIdOf } from "./incoming.ts";
import { isSampled, type TraceContext } from "./trace.ts";
import type { Attributes, Span, Tracer } from "./tracer.ts";

// Names and attributes by OpenTelemetry's semantic conventions for messaging
// (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). What they have no name for is `shop.*`.

/** Begins the span of a message that is about to be stored: a child of what it was decided on, and the parent of its handling. */
export function startCreate(tracer: Tracer, message: Outgoing, origin: Origin): Span {
  const { subject, schedule } = message;
  const { parent, cause, id } = origin;
  return tracer.start(`create ${message.contract.subject}`, {
    kind: "producer",
    parent,
    ...(cause !== undefined && isSampled(cause) && { links: [cause] }),
    attributes: {
      ...operation("create", subject),
      "messaging.message.id": id,
      "shop.timer.at": schedule?.at.toISOString(),
    },
  });
}

export interface Origin {
  /** The trace that the message belongs to. */
  parent: TraceContext;
  /** What caused it, where that is of another trace. */
  cause?: TraceContext | undefined;
  /** `ce-id` */
  id: string;
}

/**
 * Records a commit, and ends the spans of the messages that it carried. A commit belongs to no single trace: it is one of
 * its own, linked to all of its messages that are traced. Where nothing was stored there are no messages, and it is linked to
 * what asked for them.
 */
export function traceCommit(
  tracer: Tracer,
  batch: Batch,
  {
    stream,
    outcome,
    ...times
  }: { stream: string; outcome: CommitOutcome; startedAt: number; decisions: number },
): void {
  const traced = batch.traced();
  if (traced.length === 0) return;
  // A message whose commit got no answer may be there, and be handled. If it is decided again, there is another one.
  const exists = outcome.kind === "committed" || outcome.kind === "unknown";
  const links = traced.map(({ span, parent }) => (exists ? span.trace : parent));
  const { startedAt, decisions } = times;
  const commit = tracer.start(`commit ${stream}`, {
    kind: "client",
    links,
    attributes: {
      "messaging.system": "nats",
      "messaging.operation.name": "commit",
      "messaging.operation.type": "send",
      "messaging.destination.name": stream,
      "messaging.batch.message_count": batch.size,
      "shop.commit.decisions": decisions,
    },
    startedAt,
  });
  if (outcome.kind !== "committed") commit.fail(outcome.kind);
  commit.end();
  if (!exists) return;
  for (const { span, index } of traced) {
    if (outcome.kind === "committed") {
      span.set({ "shop.stream": stream, "shop.sequence": outcome.lastSeq - batch.size + 1 + index });
    } else {
      span.fail(outcome.kind);
    }
    span.end();
  }
}

/** Begins the span of a delivery: a child of its message's. */
export function startProcess(tracer: Tracer, incoming: Incoming): Span {
  const { msg, subject, trace, stream, seq, letter } = incoming;
  const { consumer, deliveryCount } = msg.info;
  return tracer.start(`process ${splitSubject(subject).prefix}`, {
    kind: "consumer",
    parent: trace,
    attributes: {
      ...operation("process", subject),
      "messaging.consumer.group.name": consumer,
      "messaging.message.id": messageIdOf(incoming),
      "shop.stream": stream,
      "shop.sequence": seq,
      "shop.delivery_count": deliveryCount,
      "shop.redelivered": msg.redelivered,
      "shop.dead_letter": letter?.id,
    },
  });
}

/** Ends it with what became of the delivery. */
export function endProcess(span: Span, outcome: string): void {
  span.set({ "shop.outcome": outcome });
  if (outcome === "dead") span.fail("dead_letter");
  span.end();
}

/** Performs an effect outside the ledger in a span of its own, which has what kind of answer there was. */
export async function inEffectSpan(
  tracer: Tracer,
  { name, kind = "client", attributes = {} }: EffectDescription,
  { parent, perform }: { parent: TraceContext; perform(): Promise<unknown> },
): Promise<unknown> {
  const span = tracer.start(name, { kind, parent, attributes });
  try {
    const result = await perform();
    span.set({ "shop.effect.result": kindOf(result) });
    return result;
  } catch (cause) {
    failWith(span, cause);
    throw cause;
  } finally {
    span.end();
  }
}

export function failWith(span: Span, cause: unknown): void {
  if (cause instanceof Error) span.fail(cause.name, cause.message);
  else span.fail("_OTHER", String(cause));
}

/** Results are unions, each member of which has a `kind`. */
function kindOf(result: unknown): string | undefined {
  if (typeof result !== "object" || result === null || !("kind" in result)) return undefined;
  return typeof result.kind === "string" ? result.kind : undefined;
}

function operation(type: "create" | "process", subject: string): Attributes {
  return {
    "messaging.system": "nats",
    "messaging.operation.name": type,
    "messaging.operation.type": type,
    "messaging.destination.name": subject,
    // The subject without its id: what metrics call the subject.
    "messaging.destination.template": splitSubject(subject).prefix,
  };
}
