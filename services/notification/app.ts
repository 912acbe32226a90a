import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import { described, type Env, Problem, readOrderId, toTime } from "../../lib/mod.ts";
import { key, type Ledger, mail, mailWaiting, subjectOf, viewLast, waitingId } from "../../nats/mod.ts";
import { getMails, kinds, type Mails } from "./api.ts";
import { eventOf, mailId } from "./decide.ts";
import type { MailKind } from "./mailer.ts";

/** What `api.ts` describes. */
export function routes(
  app: Hono<Env>,
  { jsm, ledger }: { jsm: JetStreamManager; ledger: Ledger },
): Hono<Env> {
  return app.get("/mails/:order", described(getMails), async (context) => {
    const orderId = readOrderId(context.req.param("order"), unknownOrder);
    const [found, waiting] = await Promise.all([
      Promise.all(kinds.map((kind) => viewLast(jsm, ledger.stream, key(mail, mailId(orderId, kind))))),
      Promise.all(
        kinds.map((kind) => viewLast(jsm, ledger.stream, key(mailWaiting, waitingOf(orderId, kind)))),
      ),
    ]);
    const mails = found.flatMap((sent) => {
      if (sent === undefined) return [];
      const at = toTime(sent.sentAt);
      return [{ kind: sent.kind, message_id: sent.messageId, sent_at: at }];
    });
    const late = waiting.flatMap((state, index) => {
      const { tries, firstTriedAt, nextTryAt } = state ?? {};
      const kind = kinds[index];
      if (kind === undefined || tries === undefined || nextTryAt === undefined) return [];
      return [{ kind, tries, since: toTime(firstTriedAt), next_try_at: toTime(nextTryAt) }];
    });
    const answer: Mails = { order_id: orderId, mails, ...(late.length > 0 && { waiting: late }) };
    return context.json(answer);
  });
}

/** By what the ledger knows a mail that waits: by the event that it is about. */
function waitingOf(orderId: string, kind: MailKind): string {
  return waitingId(subjectOf(eventOf[kind], orderId));
}

function unknownOrder(orderId: string): Problem {
  return new Problem(404, "unknown-order", {
    title: "Unknown order",
    detail: `There is no order ${JSON.stringify(orderId)}`,
  });
}
