import { appendFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { type JetStreamClient, jetstream } from "@nats-io/jetstream";
import { connect, headers as createHeaders, type MsgHdrs } from "@nats-io/transport-node";
import {
  accessOptions,
  type Contract,
  checkoutCancelled,
  counted,
  encode,
  mailWaitingTimer,
  payment,
  paymentWaitingTimer,
  refundPayment,
  streamHolding,
} from "../../nats/mod.ts";
import { listenSmtp } from "../../services/notification/listen_smtp.ts";
import { drained, until } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { place, underLoad } from "./load.ts";
import { kinds } from "./orders.ts";
import type { Outside, World } from "./world.ts";

/** First token of the ids of what waits, which are no orders' (`wait.17`). */
const WAIT = "wait";
/** A hundred times what a consumer has places for; in a short run, twice as much. */
const MANY = 100_000;
const SOME = 2_000;
/** As fast as two cores, a provider and a mail server that answer at once let each be tried once. */
const TRIED_MS = 15 * 60_000;
/** While they wait, some of them come due. */
const WHILE_MS = 60_000;
const END_MS = 180_000;

/** A mail server that takes no mail for `greylisted@…`, and puts all others into a mailbox. */
async function greylisting(stack: AsyncDisposableStack): Promise<Outside> {
  const folder = await mkdtemp(join(tmpdir(), "fault-mails-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { url } = stack.use(
    await listenSmtp({
      onRcptTo: ({ address }, _, done) => {
        const isUnknown = address.startsWith("greylisted");
        done(isUnknown ? Object.assign(new Error("Greylisted, come again"), { responseCode: 451 }) : null);
      },
      onMail(source) {
        appendFileSync(join(folder, "smtp.mbox"), `From smtp\n${source.replaceAll("\r\n", "\n")}\n\n`);
        return undefined;
      },
    }),
  );
  return { environment: { SMTP_URL: url }, mailFolders: [folder] };
}

/** Stores `count` refunds that the sandbox leaves pending, and as many mails that the server does not take. */
async function store(world: World, js: JetStreamClient, count: number): Promise<void> {
  const headers = new Map<Contract, MsgHdrs>();
  for (const contract of [payment, refundPayment, checkoutCancelled]) {
    headers.set(contract, await schemaOf(world, contract));
  }
  const put = <S extends DescMessage>(contract: Contract<S>, id: string, init: MessageInitShape<S>) =>
    js.publish(`${contract.subject}.${id}`, encode(contract, create(contract.schema, init)), {
      headers: headers.get(contract) as MsgHdrs,
    });
  for (let from = 0; from < count; from += AT_ONCE) {
    const ids = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, n) => `${WAIT}.${from + n}`);
    await Promise.all(
      ids.map(async (orderId) => {
        const money = { amountCents: 1_200n, currency: "EUR" };
        const captured = { capturedCents: 1_200n, captureId: "sandbox_ch_pending" };
        await put(payment, orderId, { orderId, status: "captured", ...money, ...captured });
        await put(refundPayment, orderId, { orderId, reason: "customer_request" });
        const customer = { id: "cus", email: `greylisted-${orderId}@example.com` };
        const order = { orderId, totalCents: 1_200n, currency: "EUR", customer };
        await put(checkoutCancelled, orderId, { order, reason: "customer_request" });
      }),
    );
  }
}

const AT_ONCE = 200;

/** The header that names the schema, as the last message of its kind has it. */
async function schemaOf({ streams }: World, contract: Contract): Promise<MsgHdrs> {
  const stream = streamHolding(contract)?.name ?? "";
  const last_by_subj = `${contract.subject}.>`;
  const name = "ce-dataschema";
  const last = await streams.jsm.direct.getMessage(stream, { last_by_subj });
  const copy = createHeaders();
  copy.set(name, last?.header.get(name) ?? "");
  return copy;
}

const outsideWaits: Fault = {
  name: "outside_waits",
  does: `the provider leaves ${counted(MANY, "refund")} pending, and the mail server takes as many mails at no time`,
  passes: "they wait in the ledgers and hold up nobody: orders are placed, paid, refunded and mailed as ever",
  world: { outside: greylisting },
  async run(world, extent) {
    const count = extent.rounds === 1 ? SOME : MANY;
    const { ignored, shop } = world;
    ignored.add(WAIT);
    await using stack = new AsyncDisposableStack();
    const connection = await connect({ ...accessOptions(shop.shop.operator), name: "outside" });
    stack.defer(() => connection.close());
    // One that is refunded: there are messages of each kind then.
    const refunded = kinds.find(({ ends }) => ends.includes("fulfillment_failed"));
    if (refunded === undefined) throw new RangeError("No kind of order is refunded");
    const { id } = await place(world, refunded);
    await shop.reaches(id, "cancelled");
    // What waits is not to be audited: nobody has placed it.
    await using _purged = purgeAtTheEnd(world);
    await store(world, jetstream(connection), count);
    await until("each to be tried once", () => areTried(world), { timeoutMs: TRIED_MS });
    await underLoad(world, extent, () => sleep(WHILE_MS / (extent.rounds === 1 ? 10 : 1)));
    await until("the orders to end", () => shopIsIdle(world), { timeoutMs: END_MS });
    const left = await Promise.all([
      countOf(world, "PAYMENT", paymentWaitingTimer),
      countOf(world, "NOTIFICATION", mailWaitingTimer),
    ]);
    // A few are being tried at any moment.
    const missing = left.filter((waiting) => waiting < count * 0.9);
    return missing.map((waiting) => `${waiting} of ${count} still waited`);
  },
};

function purgeAtTheEnd({ streams }: World): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      for (const [stream, prefix] of Object.entries(prefixes)) {
        await streams.jsm.streams.purge(stream, { filter: `${prefix}.*.${WAIT}.>` });
      }
    },
  };
}

const prefixes = { CHECKOUT: "checkout", PAYMENT: "payment", NOTIFICATION: "notification" };

async function areTried({ streams: { jsm } }: World): Promise<boolean> {
  const consumers = ["payment", "notification"];
  return (await Promise.all(consumers.map((name) => drained(jsm, "CHECKOUT", name)))).every(Boolean);
}

/** Whether the orders that were placed have ended, which the many have begun by doing. */
async function shopIsIdle({ shop, accepted }: World): Promise<boolean> {
  const orders = await Promise.all(accepted.map(({ id }) => shop.order(id)));
  return orders.every(({ state }) => state === "completed" || state === "cancelled");
}

async function countOf({ streams }: World, stream: string, { subject }: Contract): Promise<number> {
  const subjects_filter = `${subject}.${WAIT}.>`;
  const { state } = await streams.jsm.streams.info(stream, { subjects_filter });
  return Object.keys(state.subjects ?? {}).length;
}

export const outsideFaults: readonly Fault[] = [outsideWaits];
