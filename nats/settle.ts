import type { NatsConnection } from "@nats-io/transport-node";
import type { Log } from "./connection.ts";
import { splitSubject } from "./contracts/contract.ts";
import { changeLetter } from "./dead_letter.ts";
import { giveUp, type Incoming } from "./incoming.ts";
import { backoffMs } from "./pause.ts";
import { traceId } from "./trace.ts";

/** Who settles deliveries, and where it says so. */
export interface Settling {
  readonly connection: NatsConnection;
  readonly service: string;
  readonly log: Log;
  /** What the log says of a message besides its subject and trace, by the subject's id. */
  readonly describe?: ((id: string) => object) | undefined;
}

/** What every log line about a message says. */
export function fieldsOf(
  { subject, msg, trace }: Incoming,
  { describe }: Pick<Settling, "describe">,
): object {
  return {
    subject,
    attempt: msg.info.deliveryCount,
    trace_id: traceId(trace),
    ...describe?.(splitSubject(subject).id),
  };
}

/** Acknowledges what was handled. That a redriven letter was is stored before. */
export async function finish(incoming: Incoming, settling: Settling): Promise<"done" | "error"> {
  const { connection, log } = settling;
  const { msg, letter } = incoming;
  if (letter === undefined) {
    msg.ack();
    return "done";
  }
  const fields = { ...fieldsOf(incoming, settling), letter: letter.id, by: letter.by };
  const changed = await changeLetter(connection, letter, { status: "handled" });
  if (changed.kind === "committed" || changed.kind === "conflict") {
    log.info(fields, "handled a redriven dead letter");
    msg.ack();
    return "done";
  }
  log.error({ ...fields, changed }, "cannot mark a dead letter as handled, trying again");
  msg.nak(backoffMs(msg.info.deliveryCount));
  return "error";
}

/** Parks a message as a dead letter, then acknowledges it. Until it is parked for sure it comes again. */
export async function parkAway(
  incoming: Incoming,
  settling: Settling & { error: string },
): Promise<"dead" | "error"> {
  const { connection, service, log, error } = settling;
  const { msg, seq, letter } = incoming;
  incoming.span?.set({ "shop.reason": error });
  const parked = await giveUp(connection, incoming, { service, error });
  const { consumer } = msg.info;
  const fields = {
    ...fieldsOf(incoming, settling),
    seq,
    consumer,
    error,
    ...(letter && { letter: letter.id }),
  };
  if (parked.kind === "committed" || parked.kind === "conflict") {
    log.error(fields, "parked as a dead letter");
    msg.ack();
    return "dead";
  }
  log.error({ ...fields, parked }, "cannot park a dead letter, trying again");
  msg.nak(backoffMs(msg.info.deliveryCount));
  return "error";
}
