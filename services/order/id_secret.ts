import { randomBytes } from "node:crypto";
import type { JetStreamManager } from "@nats-io/jetstream";
import { StartError } from "../../lib/mod.ts";
import {
  checkoutState,
  decode,
  idempotencyKey,
  key,
  type Ledger,
  type Log,
  message,
  newTrace,
  orderCreated,
  orderIdSecret,
  pause,
  UnreadableStateError,
  viewPage,
} from "../../nats/mod.ts";
import { fingerprintOf, type OrderIds, orderIds } from "./order_id.ts";

/**
 * The secret is stored twice: lost, every key that is sent again would be a second order. There is one for the whole shop,
 * since an idempotency key is one order's in the whole shop.
 */
const copies = ["shop", "spare"] as const;
/** Who knows of orders that the ledger has lost. */
const CHECKOUT = "CHECKOUT";
const SECRET_BYTES = 32;
const RETRY_MS = 100;
/** Reads that fail while NATS is not there yet are told no more often than this. */
const TELL_EVERY = 50;
/**
 * The spare is stored again when it lies this far back. What damages a file of the stream then does not reach both copies: a
 * file holds 8 MB, which is fewer messages than these.
 */
const SPARE_EVERY = 20_000;

export interface OpenOrderIdsOptions {
  jsm: JetStreamManager;
  ledger: Ledger;
  log: Pick<Log, "warn" | "error">;
  signal: AbortSignal;
  /** Whether a new secret is made where the old one is lost. Default false: keys that are sent again would be second orders. */
  replace?: boolean;
}

/** Each copy: the secret, undefined if there is none, or why it cannot be used; and where it is in the stream. */
interface Copy {
  readonly id: (typeof copies)[number];
  readonly secret: Uint8Array | undefined;
  readonly seq: number;
  readonly damage?: string;
}

/** What is known of the orders that are there. */
interface Orders {
  readonly exist: boolean;
  /** Of the secret that the last of them was made with; undefined if an older version has made it, or there is none. */
  readonly fingerprint: Uint8Array | undefined;
}

/**
 * {@linkcode orderIds} with the secret in the ledger, which whichever process comes first has made. Waits for the ledger. A
 * copy that is lost or damaged is stored again from the other one, with a line about it.
 *
 * @throws {StartError} If there are orders and no secret that fits them, or orders of an older version.
 * @throws {UnreadableStateError} If both copies are no messages of this service.
 * @throws What the last read threw, once `signal` has aborted.
 */
export async function openOrderIds(options: OpenOrderIdsOptions): Promise<OrderIds> {
  const { log, signal } = options;
  for (let attempt = 0; ; attempt++) {
    try {
      return orderIds(await openSecret(options));
    } catch (cause) {
      if (signal.aborted || cause instanceof StartError || cause instanceof UnreadableStateError) throw cause;
      if (attempt % TELL_EVERY === 0) log.warn({ err: cause }, "cannot read the secret, trying again");
      await pause(RETRY_MS, signal);
    }
  }
}

async function openSecret(options: OpenOrderIdsOptions): Promise<Uint8Array> {
  const { jsm, ledger, log, replace = false } = options;
  const found = await Promise.all(copies.map((id) => readCopy(ledger, id)));
  const secret = choose(found, await readOrders(options), options);
  if (secret === undefined) {
    // By the leader's word: a replica that lags would let an order be placed again.
    const question = { next_by_subj: `${idempotencyKey.subject}.>`, seq: 1 };
    if (!replace && (await jsm.streams.getMessage(ledger.stream, question)) !== null) {
      throw olderVersion(ledger.stream);
    }
    return makeSecret(options, found);
  }
  const { state } = await jsm.streams.info(ledger.stream);
  for (const copy of found) {
    const isOld = copy.id === "spare" && state.last_seq - copy.seq > SPARE_EVERY;
    const isRight = isSame(copy, secret);
    if (isRight && !isOld) continue;
    if (!isRight) {
      const { id, damage = copy.secret === undefined ? "it is missing" : "it fits no order" } = copy;
      log.error({ copy: id }, `a copy of the secret of order ids is stored again: ${damage}`);
    }
    await storeCopy(ledger, copy.id, secret);
  }
  return secret;
}

/**
 * The secret that the orders were made with; undefined if there is neither a secret nor an order, or a new one is to be made.
 * @throws {StartError} If there are orders, and none of the copies fits them.
 */
function choose(
  found: readonly Copy[],
  orders: Orders,
  { ledger, replace = false }: OpenOrderIdsOptions,
): Uint8Array | undefined {
  const { fingerprint } = orders;
  const secrets = found.flatMap(({ secret }) => secret ?? []);
  const fitting =
    fingerprint === undefined
      ? secrets
      : secrets.filter((secret) => Buffer.compare(fingerprintOf(secret), fingerprint) === 0);
  const [secret, other] = fitting;
  const oneOfTwo = secret !== undefined && other !== undefined && Buffer.compare(secret, other) !== 0;
  if (secret !== undefined && !oneOfTwo) return secret;
  if (replace || (!orders.exist && secrets.length === 0)) return undefined;
  // Nothing was made with either of them.
  if (!orders.exist) return secret;
  const why = oneOfTwo
    ? "there are two secrets, and the orders do not say which is theirs"
    : secrets.length === 0
      ? "the secret that their ids were made with is lost"
      : "the secret that is there is not the one that their ids were made with";
  throw new StartError(
    `Cannot start order: ${ledger.stream} has had orders, and ${why}; a request that is sent again would be a second order. ` +
      `Restore ${ledger.stream} from a backup or, once no client sends an old request again, start once with ` +
      "ORDER_ID_SECRET=replace (docs/operations.md, A lost secret)",
  );
}

async function readCopy(ledger: Ledger, id: Copy["id"]): Promise<Copy> {
  try {
    const { value, seq } = await ledger.read(key(orderIdSecret, id));
    const secret = value?.secret;
    if (secret === undefined || secret.length === SECRET_BYTES) return { id, secret, seq };
    // Ids that are made of it could be computed by anybody.
    return { id, secret: undefined, seq, damage: `it has ${secret.length} bytes` };
  } catch (cause) {
    if (!(cause instanceof UnreadableStateError)) throw cause;
    return { id, secret: undefined, seq: 0, damage: cause.message };
  }
}

async function readOrders({ jsm, ledger }: OpenOrderIdsOptions): Promise<Orders> {
  const last = await jsm.streams.getMessage(ledger.stream, { last_by_subj: `${orderCreated.subject}.>` });
  if (last === null) {
    // What damages the ledger's file at its beginning takes the orders with it.
    const checkouts = await viewPage(jsm, CHECKOUT, checkoutState, { from: 1, limit: 1 });
    return { exist: checkouts.length > 0, fingerprint: undefined };
  }
  const { idSecretFingerprint } = decode(orderCreated, last.data);
  return { exist: true, fingerprint: idSecretFingerprint.length > 0 ? idSecretFingerprint : undefined };
}

/** Stores a secret in place of those that were found, unless another process has been faster: its secret then. */
function makeSecret({ ledger }: OpenOrderIdsOptions, found: readonly Copy[]): Promise<Uint8Array> {
  const made = randomBytes(SECRET_BYTES);
  return ledger.execute({
    keys: copies.map((id) => key(orderIdSecret, id)),
    trace: newTrace(),
    decide: (view) => {
      const stored = copies.map((id) => view.get(orderIdSecret, id)?.secret);
      const faster = stored.find(
        (secret) => secret !== undefined && !found.some((copy) => isSame(copy, secret)),
      );
      if (faster !== undefined) return { messages: [], result: faster };
      return { messages: copies.map((id) => message(orderIdSecret, id, { secret: made })), result: made };
    },
  });
}

function isSame({ secret }: Copy, other: Uint8Array): boolean {
  return secret !== undefined && Buffer.compare(secret, other) === 0;
}

async function storeCopy(ledger: Ledger, id: Copy["id"], secret: Uint8Array): Promise<void> {
  await ledger.execute({
    keys: [key(orderIdSecret, id)],
    trace: newTrace(),
    decide: () => ({ messages: [message(orderIdSecret, id, { secret })], result: undefined }),
  });
}

function olderVersion(stream: string): StartError {
  return new StartError(
    `Cannot start order: ${stream} has orders of an older version, and a client that sends one of them again would get a ` +
      `second order; begin with an empty DATA_DIR or, on servers of your own, once no client does so any more, remove what ` +
      `is in the way: ` +
      `nats stream purge ${stream} --subject "${idempotencyKey.subject}.>"`,
  );
}
