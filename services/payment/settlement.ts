import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { SettlementSchema } from "../../gen/shop/payment/v1/payment_pb.ts";
import { message, payment, paymentRefunded } from "../../nats/contracts/mod.ts";
import type { Decision, View } from "../../nats/mod.ts";
import type { Payment } from "./decide.ts";

/** What a person says of a refund that the provider refuses. */
export interface Settling {
  settledBy: string;
  /** How and why. */
  note: string;
  /** All that was captured: a part would leave the books open. */
  amountCents: bigint;
  now: Date;
}

export type Settled =
  | { kind: "settled"; payment: Payment }
  | { kind: "unknown" }
  | { kind: "refused"; detail: string };

/**
 * Records that the customer got the money of an order back by other means than a refund of the provider. To everybody else the
 * order is refunded. The same settlement again is answered alike.
 */
export function settle(view: View, orderId: string, settling: Settling): Decision<Settled> {
  const known = view.get(payment, orderId);
  if (known === undefined) return { messages: [], result: { kind: "unknown" } };
  const { settledBy, note, amountCents, now } = settling;
  const { settlement: made, capturedCents, currency } = known;
  if (made?.settledBy === settledBy && made.note === note && made.amountCents === amountCents) {
    return { messages: [], result: { kind: "settled", payment: known } };
  }
  if (known.status !== "refunding" || known.refundRefused === "") return refuse(standing(known));
  if (amountCents !== capturedCents) {
    return refuse(
      `${capturedCents} cents of ${currency} were captured, and ${amountCents} are said to be settled`,
    );
  }
  const settlement = create(SettlementSchema, {
    settledBy,
    note,
    amountCents,
    settledAt: timestampFromDate(now),
  });
  const settled = { ...known, status: "refunded", refundedCents: amountCents, settlement };
  const state = message(payment, orderId, settled);
  return {
    messages: [state, message(paymentRefunded, orderId, { orderId, amountCents, currency })],
    result: { kind: "settled", payment: state.value },
  };
}

function standing({ status, settlement }: Payment): string {
  if (settlement !== undefined) return `it is settled already, by ${settlement.settledBy}`;
  return status === "refunding"
    ? "the provider has not refused the refund, and may make it any moment"
    : `there is no refund that waits for a person: it is ${status}`;
}

function refuse(detail: string): Decision<Settled> {
  return { messages: [], result: { kind: "refused", detail } };
}
