import type { MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { CheckoutCancelledSchema } from "../../gen/shop/checkout/v1/checkout_cancelled_pb.ts";
import type { CheckoutCompletedSchema } from "../../gen/shop/checkout/v1/checkout_completed_pb.ts";
import type { OrderCreatedSchema } from "../../gen/shop/order/v1/order_created_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  type Contract,
  checkoutCancelled,
  checkoutCompleted,
  key,
  mail,
  mailWaiting,
  mailWaitingDue,
  mailWaitingTimer,
  message,
  orderCreated,
} from "../../nats/contracts/mod.ts";
import type { Handler, Patience, WaitingContracts } from "../../nats/mod.ts";
import { isMailAddress, type Letter, type Mailer, type MailKind, type SendResult } from "./mailer.ts";
import { orderCancelled, orderCompleted, orderReceived, type Template } from "./templates.ts";

type Order = MessageShape<typeof OrderSchema>;
type OrderEvent = typeof OrderCreatedSchema | typeof CheckoutCompletedSchema | typeof CheckoutCancelledSchema;

/** What each mail is about. */
export const eventOf = {
  order_received: orderCreated,
  order_completed: checkoutCompleted,
  order_cancelled: checkoutCancelled,
} as const satisfies Record<MailKind, Contract>;

/** Where mails wait for the mail server. */
export const waiting: WaitingContracts = {
  state: mailWaiting,
  timer: mailWaitingTimer,
  due: mailWaitingDue,
};

export interface HandlerOptions {
  mailer: Pick<Mailer, "send">;
  /** Default: a minute, and hours in the end. */
  patience?: Patience;
}

/** Everything that notification does about a message: it reacts to what others say, and nobody waits for it. */
export function handlers({ mailer, patience = PATIENCE }: HandlerOptions) {
  const by = { mailer, patience };
  return [
    mails(eventOf.order_received, "order_received", { write: orderReceived, ...by }),
    mails(eventOf.order_completed, "order_completed", { write: orderCompleted, ...by }),
    mails(eventOf.order_cancelled, "order_cancelled", {
      write: (order, { reason }) => orderCancelled(order, reason),
      ...by,
    }),
  ] as const;
}

const SECOND_MS = 1_000;
const HOUR_MS = 3_600 * SECOND_MS;

/**
 * Servers that do not know a sender take its mail after some minutes. What is not taken for two days is a dead letter (RFC 5321,
 * 4.5.4.1).
 */
const PATIENCE: Patience = {
  firstMs: 60 * SECOND_MS,
  maxMs: 4 * HOUR_MS,
  maxAgeMs: 48 * HOUR_MS,
  perSecond: 50,
};

/**
 * Sends one kind of mail once for each event of `contract`, and records it.
 *
 * No intent is stored before the mail is sent, though sending is an effect that cannot be taken back. An intent would
 * tell after a crash that the mail may be out, and the answer would be to send it again, as it is without one: the
 * Message-ID is made of the order and the kind, so that a second copy is known for one (I4).
 */
function mails<S extends OrderEvent>(
  contract: Contract<S>,
  kind: MailKind,
  options: Required<HandlerOptions> & { write(order: Order, event: MessageShape<S>): Template },
): Handler<S, Letter, SendResult> {
  return {
    contract,
    patience: options.patience,
    keys: (_, id) => [key(mail, mailId(id, kind))],
    decide(view, event, { storedAt }) {
      const order: Order | undefined = event.order;
      if (order === undefined) return { kind: "dead", reason: `Cannot mail ${kind}: the event has no order` };
      const { orderId } = order;
      if (view.get(mail, mailId(orderId, kind)) !== undefined) return { kind: "done", messages: [] };
      const to = order.customer?.email ?? "";
      if (!isMailAddress(to)) {
        return {
          kind: "dead",
          reason: `Cannot mail ${kind} of order "${orderId}": the customer's email is not one address`,
        };
      }
      const { subject, text } = options.write(order, event);
      // The event's time, not the try's: the same mail each time, and the time that the customer wants to know.
      const letter = {
        orderId,
        kind,
        to,
        messageId: messageId(orderId, kind),
        date: storedAt,
        subject,
        text,
      };
      return { kind: "perform", messages: [], effect: letter };
    },
    perform: (letter, { signal, attempt }) => options.mailer.send(letter, { signal, attempt }),
    describe: ({ orderId, messageId }) => ({
      name: "send mail",
      attributes: { "shop.mail.kind": kind, "shop.mail.message_id": messageId, "shop.order_id": orderId },
    }),
    conclude(view, event, result, { now }) {
      switch (result.kind) {
        case "sent": {
          const order: Order | undefined = event.order;
          if (order === undefined) return { kind: "done", messages: [] };
          const { orderId, customer } = order;
          const id = mailId(orderId, kind);
          if (view.get(mail, id) !== undefined) return { kind: "done", messages: [] };
          const to = customer?.email ?? "";
          const sentAt = timestampFromDate(now);
          const sent = { orderId, kind, to, messageId: messageId(orderId, kind), sentAt };
          return { kind: "done", messages: [message(mail, id, sent)] };
        }
        case "unavailable":
          return { kind: "wait", reason: result.reason };
        case "refused":
          return { kind: "dead", reason: result.reason };
        default:
          return result satisfies never;
      }
    },
  };
}

/** By what the ledger knows a mail. */
export function mailId(orderId: string, kind: MailKind): string {
  return `${orderId}.${kind}`;
}

function messageId(orderId: string, kind: MailKind): string {
  return `<${mailId(orderId, kind)}@jetstream-checkout>`;
}
