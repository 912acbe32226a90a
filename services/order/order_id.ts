import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import type { JetStreamManager } from "@nats-io/jetstream";
import { StartError } from "../../lib/mod.ts";
import {
  counted,
  idempotencyKey,
  key,
  type Ledger,
  type Log,
  message,
  newTrace,
  orderIdSecret,
  pause,
  UnreadableStateError,
  type View,
} from "../../nats/mod.ts";

/** The id of the order that an idempotency key stands for. */
export type OrderIds = (idempotencyKey: string) => string;

/** There is one secret: an idempotency key is one order's in the whole shop. */
const SHOP = "shop";
const SECRET_BYTES = 32;
/** 128 bits: no two keys ever meet in one id. */
const ID_DIGITS = 32;
const RETRY_MS = 100;
/** Reads that fail while NATS is not there yet are told no more often than this. */
const TELL_EVERY = 50;

/**
 * The same key has the same id everywhere and always, which is what makes it one order (ADR 10). Keys may be easy to
 * guess, ids are not: they are made with the shop's secret.
 */
export function orderIds(secret: Uint8Array): OrderIds {
  const hmacKey = createSecretKey(secret);
  return (idempotencyKey) =>
    `ord_${createHmac("sha256", hmacKey).update(idempotencyKey).digest("hex").slice(0, ID_DIGITS)}`;
}

export interface OpenOrderIdsOptions {
  jsm: JetStreamManager;
  ledger: Ledger;
  log: Pick<Log, "warn">;
  signal: AbortSignal;
}

/**
 * {@linkcode orderIds} with the secret in the ledger, which whichever process comes first has made. Waits for the ledger.
 *
 * @throws {StartError} If the ledger has orders of an older version, whose ids were not made from their keys.
 * @throws {UnreadableStateError} If what is stored is no secret.
 * @throws What the last read threw, once `signal` has aborted.
 */
export async function openOrderIds(options: OpenOrderIdsOptions): Promise<OrderIds> {
  const { log, signal } = options;
  for (let attempt = 0; ; attempt++) {
    try {
      return orderIds((await findSecret(options)) ?? (await makeSecret(options)));
    } catch (cause) {
      if (signal.aborted || cause instanceof StartError || cause instanceof UnreadableStateError) throw cause;
      if (attempt % TELL_EVERY === 0) log.warn({ err: cause }, "cannot read the secret, trying again");
      await pause(RETRY_MS, signal);
    }
  }
}

/** By the leader's word. */
function findSecret({ ledger }: OpenOrderIdsOptions): Promise<Uint8Array | undefined> {
  return ledger.execute({
    keys: [key(orderIdSecret, SHOP)],
    trace: newTrace(),
    decide: (view) => ({ messages: [], result: secretIn(view) }),
  });
}

/** Stores a secret unless another process has been faster: its secret then. */
async function makeSecret({ jsm, ledger }: OpenOrderIdsOptions): Promise<Uint8Array> {
  // By the leader's word: a replica that lags would let an order be placed again.
  const question = { next_by_subj: `${idempotencyKey.subject}.>`, seq: 1 };
  if ((await jsm.streams.getMessage(ledger.stream, question)) !== null) throw olderVersion(ledger.stream);
  const secret = randomBytes(SECRET_BYTES);
  return ledger.execute({
    keys: [key(orderIdSecret, SHOP)],
    trace: newTrace(),
    decide: (view) => {
      const stored = secretIn(view);
      if (stored !== undefined) return { messages: [], result: stored };
      return { messages: [message(orderIdSecret, SHOP, { secret })], result: secret };
    },
  });
}

/** @throws {UnreadableStateError} If what is stored is no secret: ids that are made of it could be computed by anybody. */
function secretIn(view: View): Uint8Array | undefined {
  const secret = view.get(orderIdSecret, SHOP)?.secret;
  if (secret !== undefined && secret.length !== SECRET_BYTES) {
    throw new UnreadableStateError(
      `Cannot use the secret of order ids: it has ${counted(secret.length, "byte")}`,
    );
  }
  return secret;
}

function olderVersion(stream: string): StartError {
  return new StartError(
    `Cannot start order: ${stream} has orders of an older version, and a client that sends one of them again would get a ` +
      `second order; begin with an empty DATA_DIR or, on servers of your own, once no client does so any more, remove what ` +
      `is in the way: ` +
      `nats stream purge ${stream} --subject "${idempotencyKey.subject}.>"`,
  );
}
