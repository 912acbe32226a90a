import type { MessageShape } from "@bufbuild/protobuf";
import {
  checkoutState,
  item,
  orderActivated,
  orderCreated,
  orderShipped,
  payment,
  reservation,
  screening,
  splitSubject,
  topology,
} from "../../nats/mod.ts";
import { type Event, type Rule, type State, table } from "../../services/coordinator/table.ts";
import { oneOf } from "../model/invariants.ts";
import type { Value } from "./network.ts";
import { type Shop, services } from "./shop.ts";
import type { Store } from "./store.ts";

type Checkout = MessageShape<typeof checkoutState.schema>;
type Order = NonNullable<Checkout["order"]>;

/** One thing that is not as it has to be. */
export interface Fault {
  readonly what: string;
  /** The order that it is about, where it is about one. */
  readonly orderId?: string;
}

export interface AuditOptions {
  readonly shop: Shop;
  readonly store: Store<Value>;
  readonly initialStock: Readonly<Record<string, number>>;
  /** By idempotency key: every order id that the customer was told. */
  readonly accepted: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Everything that is wrong once nothing is left to happen. Empty: every order ended, and all balances to the unit. */
export function audit(options: AuditOptions): Fault[] {
  const { shop, store, initialStock, accepted } = options;
  const faults: Fault[] = [];
  const orders = new Map<string, Order>();
  for (const { subject, data } of store.all("ORDER")) {
    const { prefix, id } = splitSubject(subject);
    if (prefix !== orderCreated.subject) continue;
    const { order } = data as MessageShape<typeof orderCreated.schema>;
    if (orders.has(id)) faults.push({ what: "I4: the order was created twice", orderId: id });
    if (order !== undefined) orders.set(id, order);
  }
  for (const [key, ids] of accepted) {
    if (ids.size > 1) faults.push({ what: `I4: the key ${key} has made ${ids.size} orders` });
    for (const id of ids)
      if (!orders.has(id)) faults.push({ what: "I3: an accepted order is gone", orderId: id });
  }
  const said = eventsOf(store);
  const sold = new Map<string, number>();
  for (const [orderId, order] of orders) {
    for (const what of orderFaults(orderId, order, { shop, events: said.get(orderId) ?? [] }))
      faults.push({ what, orderId });
    if (shop.last(checkoutState, orderId)?.state !== "completed") continue;
    for (const { sku, quantity } of order.lines) sold.set(sku, (sold.get(sku) ?? 0) + quantity);
  }
  for (const [sku, units] of Object.entries(initialStock)) {
    const stock = shop.last(item, sku);
    const is = [stock?.available, stock?.reserved, stock?.sold].join(" + ");
    const bought = sold.get(sku) ?? 0;
    const due = [units - bought, 0, bought].join(" + ");
    // What orders can take, what live ones hold, of which there are none any more, and what is sold.
    if (is !== due) faults.push({ what: `I2: of ${sku} there are ${is}, not ${due}` });
  }
  for (const what of [...shop.provider.faults, ...shop.mailboxes.faults])
    faults.push({ what: `I4: ${what}` });
  for (const what of shop.dead) faults.push({ what: `dead letter ${what}` });
  return [...faults, ...historyFaults(store), ...restFaults(store)];
}

function eventsOf(store: Store<Value>): Map<string, string[]> {
  const said = new Map<string, string[]>();
  for (const { name } of topology.streams) {
    for (const { subject } of store.all(name)) {
      const { prefix, id } = splitSubject(subject);
      const kinds = said.get(id);
      if (kinds === undefined) said.set(id, [prefix]);
      else kinds.push(prefix);
    }
  }
  return said;
}

function* orderFaults(
  orderId: string,
  order: Order,
  { shop, events }: { shop: Shop; events: readonly string[] },
): Generator<string> {
  const checkout = shop.last(checkoutState, orderId);
  const state = checkout?.state ?? "created";
  const completed = state === "completed";
  if (!completed && state !== "cancelled") yield `I3: the order is ${state} for ever`;
  if (completed === (checkout?.reason !== ""))
    yield `I5: ${state} for the reason ${JSON.stringify(checkout?.reason)}`;

  const captures = [...shop.provider.captures.values()].filter(
    (capture) => capture.orderId === orderId && capture.outcome === "captured",
  );
  const refunds = [...shop.provider.refunds.values()].filter((refund) => refund.orderId === orderId);
  if (captures.length > 1) yield `I4: money was captured ${captures.length} times`;
  if (refunds.length > 1) yield `I4: money was refunded ${refunds.length} times`;
  const kept =
    captures.reduce((sum, { cents }) => sum + cents, 0n) -
    refunds.reduce((sum, { cents }) => sum + cents, 0n);
  if (kept !== (completed ? order.totalCents : 0n)) yield `I1: ${kept} cents of a ${state} order are kept`;
  const known = shop.last(payment, orderId);
  if ((known?.capturedCents ?? 0n) - (known?.refundedCents ?? 0n) !== kept) {
    yield `I1: the ledger says ${known?.status}, and the provider has kept ${kept} cents`;
  }
  const stock = shop.last(reservation, orderId)?.status;
  if ((stock === "sold") !== completed || stock === "reserved")
    yield `I2: the stock of a ${state} order is ${stock}`;
  if (shop.last(screening, orderId)?.status === "in_review") yield "the review is open for ever";
  const gone = shop.last(orderShipped, orderId) ?? shop.last(orderActivated, orderId);
  if ((gone !== undefined) !== completed)
    yield `I4: of a ${state} order there is ${gone?.$typeName ?? "nothing"}`;

  for (const group of oneOf) {
    const found = events.filter((kind) => group.includes(kind));
    if (found.length > 1) yield `I4: ${found.join(" and ")}`;
  }
  const mails = [...shop.mailboxes.letters.values()].filter((letter) => letter.orderId === orderId);
  const kinds = mails.map(({ kind }) => kind).sort();
  const wanted = [completed ? "order_completed" : "order_cancelled", "order_received"];
  if (kinds.join() !== wanted.join()) yield `I4: the customer has the mails ${kinds.join(", ") || "none"}`;
}

/** I5: every stored history is the one before with steps added, and each step is the table's. */
function historyFaults(store: Store<Value>): Fault[] {
  const faults: Fault[] = [];
  const histories = new Map<string, Checkout["history"]>();
  for (const { subject, data } of store.all("CHECKOUT")) {
    const { prefix, id: orderId } = splitSubject(subject);
    if (prefix !== checkoutState.subject) continue;
    const { history } = data as Checkout;
    const before = histories.get(orderId) ?? [];
    histories.set(orderId, history);
    if (
      before.some(
        (step, index) => history[index]?.state !== step.state || history[index]?.cause !== step.cause,
      )
    ) {
      faults.push({ what: "I5: the history was rewritten", orderId });
    }
    for (let index = Math.max(1, before.length); index < history.length; index++) {
      const [from, step] = [history[index - 1], history[index]];
      if (from === undefined || step === undefined) continue;
      const rule: Rule | undefined = table[from.state as State]?.[step.cause as Event];
      if (rule?.kind === "go" && rule.to === step.state) continue;
      faults.push({ what: `I5: no way from ${from.state} to ${step.state} by ${step.cause}`, orderId });
    }
  }
  return faults;
}

/** Nothing waits for anybody. */
function restFaults(store: Store<Value>): Fault[] {
  const waiting = topology.consumers
    .filter(({ service }) => services.includes(service))
    .map(({ stream, service }) => ({ name: `${stream}/${service}`, count: store.waiting(stream, service) }));
  const schedules = topology.streams.flatMap(({ name }) => store.scheduled(name));
  return [
    ...waiting
      .filter(({ count }) => count > 0)
      .map(({ name, count }) => ({ what: `I3: ${count} messages wait for ${name}` })),
    ...schedules.map((subject) => ({
      what: `I3: the timer ${subject} is left`,
      orderId: splitSubject(subject).id,
    })),
  ];
}
