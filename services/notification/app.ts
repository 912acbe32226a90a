import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import { type Env, Problem, readOrderId } from "../../lib/mod.ts";
import { key, type Ledger, mail, viewLast } from "../../nats/mod.ts";
import { mailId } from "./decide.ts";
import type { MailKind } from "./mailer.ts";

const kinds: readonly MailKind[] = ["order_received", "order_completed", "order_cancelled"];

/**
 * `GET /mails/{order}` → `{"order_id","mails":[{"kind","message_id","sent_at"}]}`: what has been sent about an order, none
 * for an order that nobody knows; 404 for what can be the id of none. A moment old at most, and without the address.
 */
export function routes(
  app: Hono<Env>,
  { jsm, ledger }: { jsm: JetStreamManager; ledger: Ledger },
): Hono<Env> {
  return app.get("/mails/:order", async (context) => {
    const orderId = readOrderId(context.req.param("order"), unknownOrder);
    const found = await Promise.all(
      kinds.map((kind) => viewLast(jsm, ledger.stream, key(mail, mailId(orderId, kind)))),
    );
    const mails = found.flatMap((sent) => {
      if (sent === undefined) return [];
      const at = sent.sentAt && timestampDate(sent.sentAt).toISOString();
      return [{ kind: sent.kind, message_id: sent.messageId, sent_at: at }];
    });
    return context.json({ order_id: orderId, mails });
  });
}

function unknownOrder(orderId: string): Problem {
  return new Problem(404, "unknown-order", {
    title: "Unknown order",
    detail: `There is no order ${JSON.stringify(orderId)}`,
  });
}
