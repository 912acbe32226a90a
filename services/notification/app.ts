import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import { described, type Env, Problem, readOrderId } from "../../lib/mod.ts";
import { key, type Ledger, mail, viewLast } from "../../nats/mod.ts";
import { getMails, kinds, type Mails } from "./api.ts";
import { mailId } from "./decide.ts";

/** What `api.ts` describes. */
export function routes(
  app: Hono<Env>,
  { jsm, ledger }: { jsm: JetStreamManager; ledger: Ledger },
): Hono<Env> {
  return app.get("/mails/:order", described(getMails), async (context) => {
    const orderId = readOrderId(context.req.param("order"), unknownOrder);
    const found = await Promise.all(
      kinds.map((kind) => viewLast(jsm, ledger.stream, key(mail, mailId(orderId, kind)))),
    );
    const mails = found.flatMap((sent) => {
      if (sent === undefined) return [];
      const at = sent.sentAt && timestampDate(sent.sentAt).toISOString();
      return [{ kind: sent.kind, message_id: sent.messageId, sent_at: at }];
    });
    const answer: Mails = { order_id: orderId, mails };
    return context.json(answer);
  });
}

function unknownOrder(orderId: string): Problem {
  return new Problem(404, "unknown-order", {
    title: "Unknown order",
    detail: `There is no order ${JSON.stringify(orderId)}`,
  });
}
