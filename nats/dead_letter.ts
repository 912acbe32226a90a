import type { JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type CommitOutcome, commit, newHeaders } from "./commit.ts";
import { splitSubject } from "./contracts/mod.ts";

export const DEAD_LETTER_STREAM = "DEAD_LETTER";

/** Why and by whom a message is given up. */
export interface DeadLetterReason {
  service: string;
  error: string;
}

/**
 * Parks a message that its consumer cannot handle, so that the rest can flow on: payload and headers as they came
 * (without the server's own `Nats-*`), plus `dead-letter-*` headers that say where it was and what went wrong.
 *
 * Once per consumer and stream sequence, whatever is redelivered: the subject
 * `dead_letter.<service>.<consumer>.<stream>.<sequence>` is written under the guard that it does not exist.
 *
 * @returns `committed`, or `conflict` if it was parked before; anything else means that it is not parked for sure.
 */
export function park(
  connection: NatsConnection,
  msg: JsMsg,
  reason: DeadLetterReason,
): Promise<CommitOutcome> {
  const { stream, consumer, streamSequence, deliveryCount } = msg.info;
  const headers = newHeaders();
  for (const name of msg.headers?.keys() ?? []) {
    if (name.toLowerCase().startsWith("nats-")) continue;
    for (const value of msg.headers?.values(name) ?? []) headers.append(name, value);
  }
  headers.set("dead-letter-service", reason.service);
  headers.set("dead-letter-consumer", consumer);
  headers.set("dead-letter-stream", stream);
  headers.set("dead-letter-sequence", String(streamSequence));
  headers.set("dead-letter-subject", msg.subject);
  headers.set("dead-letter-type", splitSubject(msg.subject).prefix);
  headers.set("dead-letter-deliveries", String(deliveryCount));
  headers.set("dead-letter-time", new Date().toISOString());
  // A header is one line.
  headers.set("dead-letter-error", reason.error.replace(/\s+/g, " ").slice(0, 1_000));
  const subject = `dead_letter.${reason.service}.${consumer}.${stream}.${streamSequence}`;
  return commit(connection, DEAD_LETTER_STREAM, [{ subject, data: msg.data, headers, expect: 0 }]);
}
