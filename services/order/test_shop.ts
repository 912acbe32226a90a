import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { createApp, createMetrics, type RateLimit } from "../../lib/mod.ts";
import {
  applyTopology,
  checkoutCancelled,
  checkoutCompleted,
  checkoutState,
  checkoutTimer,
  consumersOf,
  deadlinePassed,
  itemPriced,
  key,
  Ledger,
  message,
  newTrace,
  type Outgoing,
  Processor,
  subjectOf,
} from "../../nats/mod.ts";
// biome-ignore lint/style/noRestrictedImports: no part of the service, but what its tests start it with
import { type Client, exampleOrder, type NatsServer, silent, startNats } from "../../test/support/mod.ts";
// biome-ignore lint/style/noRestrictedImports: as above
import { checked } from "../../test/support/openapi.ts";
import { routes } from "./app.ts";
import { handlers, type Order } from "./decide.ts";
import { openOrderIds } from "./id_secret.ts";
import type { OrderIds } from "./order_id.ts";

/** What the tests of this service send, unless they say otherwise. */
export { exampleOrder as body };

/** The JSON of an answer, be it an order or problem details. */
export interface Answer {
  order_id: string;
  state: string;
  reason?: string;
  placed_at: string;
  history: { state: string; at: string; cause: string }[];
  cancel_requested_at?: string;
  cancellation?: { requested_at: string; refused?: string };
  detail: string;
}

export async function readJson(answer: Response): Promise<Answer> {
  return (await answer.json()) as Answer;
}

/**
 * The order service on a real server of its own, without a coordinator: the test plays its part.
 * @param options.consuming Whether the service reads what inventory announces. Default: it does.
 * @param options.beside Another process of the same shop, on whose server this one is.
 */
export async function openShop({
  consuming = true,
  beside,
  ...options
}: {
  maxStreams?: number;
  rateLimit?: RateLimit;
  orderIds?: () => OrderIds | undefined;
  consuming?: boolean;
  beside?: { server: NatsServer };
} = {}) {
  await using stack = new AsyncDisposableStack();
  const server = beside?.server ?? stack.use(await startNats());
  if (beside === undefined) await applyTopology({ servers: server.url });
  const client = await server.connect();
  const ledger = stack.use(openLedger(client, "ORDER"));
  const inventory = stack.use(openLedger(client, "INVENTORY"));
  const checkout = stack.use(openLedger(client, "CHECKOUT"));
  const consumers = consuming ? consumersOf("order") : [];
  stack.use(
    new Processor(client.connection, client.js, ledger, {
      service: "order",
      consumers,
      handlers,
      log: silent,
    }),
  );
  const draining = new AbortController();
  const { signal } = draining;
  const orderIds = await openOrderIds({ ...client, ledger, log: silent, signal });
  const app = checked(
    routes(createApp({ log: pino({ level: "silent" }), metrics: createMetrics("order") }), {
      ...client,
      ledger,
      orderIds: () => orderIds,
      ...options,
      draining: signal,
    }),
  );
  const open = stack.move();
  return {
    server,
    client,
    ledger,
    checkout,
    app,
    draining,
    /** Sends an order as a client does. */
    post: (content: unknown, headers: Record<string, string> = {}) =>
      app.request("/orders", {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": crypto.randomUUID(), ...headers },
        body: typeof content === "string" ? content : JSON.stringify(content),
      }),
    /** Says a price, as inventory does. */
    price: (sku: string, unitPriceCents: bigint, currency = "EUR") =>
      store(inventory, message(itemPriced, sku, { sku, unitPriceCents, currency })),
    /** Moves a checkout on, as the coordinator does: state, timer or end, in one commit. */
    advance: (order: Order, state: string, { cause = "test", reason = "" } = {}) =>
      advance(checkout, order, { state, cause, reason }),
    messages: async (stream = "ORDER") => (await client.jsm.streams.info(stream)).state.messages,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

export type Shop = Awaited<ReturnType<typeof openShop>>;

function openLedger({ connection }: Client, stream: string): Ledger {
  return new Ledger(connection, { stream, source: "/test", log: silent });
}

export function store(ledger: Ledger, ...messages: Outgoing[]): Promise<undefined> {
  return ledger.execute({
    keys: messages.map(({ contract, subject }) => ({ contract, subject })),
    trace: newTrace(),
    decide: () => ({ messages, result: undefined }),
  });
}

function advance(
  checkout: Ledger,
  order: Order,
  { state, cause, reason }: { state: string; cause: string; reason: string },
): Promise<undefined> {
  const { orderId } = order;
  const at = timestampFromDate(new Date());
  const deadline = timestampFromDate(new Date(Date.now() + 600_000));
  return checkout.execute({
    keys: [key(checkoutState, orderId)],
    trace: newTrace(),
    decide: (view) => {
      const before = view.get(checkoutState, orderId)?.history ?? [
        { state: "created", cause: "order.created", ...(order.placedAt && { at: order.placedAt }) },
      ];
      const history = [...before, { state, at, cause }];
      const snapshot = { order, state, reason, history };
      const cancels = subjectOf(checkoutTimer, orderId);
      if (state === "completed" || state === "cancelled") {
        const end =
          state === "completed"
            ? message(checkoutCompleted, orderId, { order, completedAt: at })
            : message(checkoutCancelled, orderId, { order, reason, cancelledAt: at });
        return { messages: [message(checkoutState, orderId, snapshot, { cancels }), end], result: undefined };
      }
      const timer = message(
        checkoutTimer,
        orderId,
        { orderId, state, version: history.length, deadline },
        { schedule: { at: new Date(Date.now() + 600_000), target: subjectOf(deadlinePassed, orderId) } },
      );
      return { messages: [message(checkoutState, orderId, snapshot), timer], result: undefined };
    },
  });
}
