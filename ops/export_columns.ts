import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type State, states } from "../services/coordinator/table.ts";
import { type OrderRecord, stateOf } from "./export_records.ts";

/** `int32` is a number, `int64` a bigint, `timestamp` a Date to the millisecond. */
export type ColumnType = "string" | "int32" | "int64" | "timestamp";
export type Cell = string | number | bigint | Date | null;

/** One column of an export of orders, which has one row for each. */
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** Whether a cell may be null: the order has not come that far, or has no such thing. */
  readonly nullable: boolean;
  readonly cell: (record: OrderRecord) => Cell;
}

const text = (name: string, cell: (record: OrderRecord) => string): Column => ({
  name,
  type: "string",
  nullable: false,
  cell,
});
/** What Protobuf has as an empty text, nobody has said. */
const optionalText = (name: string, cell: (record: OrderRecord) => string | undefined): Column => ({
  name,
  type: "string",
  nullable: true,
  cell: (record) => cell(record) || null,
});
const int32 = (name: string, cell: (record: OrderRecord) => number): Column => ({
  name,
  type: "int32",
  nullable: false,
  cell,
});
const cents = (name: string, cell: (record: OrderRecord) => bigint): Column => ({
  name,
  type: "int64",
  nullable: false,
  cell,
});
const time = (name: string, cell: (record: OrderRecord) => Timestamp | undefined): Column => ({
  name,
  type: "timestamp",
  nullable: true,
  cell: (record) => {
    const timestamp = cell(record);
    return timestamp ? timestampDate(timestamp) : null;
  },
});

/** When a state was entered. The table has no way back into a state: it is once at most. */
function entered({ checkout }: OrderRecord, ...wanted: State[]): Timestamp | undefined {
  return checkout?.history.find(({ state }) => wanted.some((one) => one === state))?.at;
}

/** Names of what HTTP answers have as well are theirs. No personal data but the customer's id. */
export const columns: readonly Column[] = [
  text("order_id", ({ order }) => order.orderId),
  time("placed_at", ({ order }) => order.placedAt),
  text("customer_id", ({ order }) => order.customer?.id ?? ""),
  text("plan", ({ order }) => order.customer?.plan ?? ""),
  text("state", stateOf),
  optionalText("reason", ({ checkout }) => checkout?.reason),
  cents("total_cents", ({ order }) => order.totalCents),
  text("currency", ({ order }) => order.currency),
  int32("line_count", ({ order }) => order.lines.length),
  int32("unit_count", ({ order }) => order.lines.reduce((sum, { quantity }) => sum + quantity, 0)),
  optionalText("country", ({ order }) => order.shippingAddress?.country),
  text("shipping_priority", ({ order }) => order.shippingPriority),
  optionalText("payment_status", ({ payment }) => payment?.status),
  optionalText("decline_code", ({ payment }) => payment?.declineCode),
  cents("captured_cents", ({ payment }) => payment?.capturedCents ?? 0n),
  cents("refunded_cents", ({ payment }) => payment?.refundedCents ?? 0n),
  optionalText("carrier", ({ shipped }) => shipped?.carrier),
  optionalText("tracking_number", ({ shipped }) => shipped?.trackingNumber),
  // `created` is entered when the order is placed.
  ...states
    .filter((state) => state !== "created")
    .map((state) => time(`${state}_at`, (record) => entered(record, state))),
  time("ended_at", (record) => entered(record, "completed", "cancelled")),
  optionalText("trace_id", ({ traceId }) => traceId),
  // By their ids, one blank between two.
  optionalText("stuck_by", ({ stuckBy }) => stuckBy?.join(" ")),
];

/** Who the customer is and where they live, for who asks for it. The payment token is no column at all. */
export const personalColumns: readonly Column[] = [
  optionalText("customer_email", ({ order }) => order.customer?.email),
  optionalText("shipping_name", ({ order }) => order.shippingAddress?.name),
  optionalText("shipping_line1", ({ order }) => order.shippingAddress?.line1),
  optionalText("shipping_line2", ({ order }) => order.shippingAddress?.line2),
  optionalText("shipping_city", ({ order }) => order.shippingAddress?.city),
  optionalText("shipping_postal_code", ({ order }) => order.shippingAddress?.postalCode),
];

/** One line of an order, by the names of `GET /orders/{id}`. */
export interface Line {
  readonly sku: string;
  readonly quantity: number;
  readonly unit_price_cents: bigint;
}

export function linesOf({ order }: OrderRecord): Line[] {
  return order.lines.map(({ sku, quantity, unitPriceCents }) => ({
    sku,
    quantity,
    unit_price_cents: unitPriceCents,
  }));
}
