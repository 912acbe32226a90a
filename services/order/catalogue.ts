import type { JetStreamManager } from "@nats-io/jetstream";
import { catalogueItem, consumersOf, type Ledger, type Log, pause, viewPage } from "../../nats/mod.ts";

/** Where prices come from. */
const INVENTORY = "INVENTORY";
const POLL_MS = 100;
/** Polls that fail while NATS or the topology is not there yet are told no more often than this. */
const TELL_EVERY = 50;

export interface CatalogueOptions {
  jsm: JetStreamManager;
  ledger: Ledger;
  log: Pick<Log, "warn">;
  /** Whether prices are announced at the first start, so that having none means that they are on their way. */
  sandbox: boolean;
  signal: AbortSignal;
}

/**
 * Resolves once this service's copy of the catalogue holds what inventory had announced so far, but for the last moment, of
 * which the server has not told its consumers yet: true then, false if `signal` aborts first. Until that an order might be
 * told that its sku is unknown.
 */
export async function catalogueFilled(options: CatalogueOptions): Promise<boolean> {
  const { log, signal } = options;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      if (await isFilled(options)) return true;
    } catch (cause) {
      if (!signal.aborted && attempt % TELL_EVERY === 0) {
        log.warn({ err: cause }, "cannot tell whether the catalogue is filled, trying again");
      }
    }
    await pause(POLL_MS, signal);
  }
  return false;
}

async function isFilled({ jsm, ledger, sandbox }: CatalogueOptions): Promise<boolean> {
  if (sandbox && (await viewPage(jsm, ledger.stream, catalogueItem, { from: 1, limit: 1 })).length === 0) {
    return false;
  }
  const feeds = consumersOf("order").filter(({ stream }) => stream === INVENTORY);
  const infos = await Promise.all(feeds.map(({ stream, name }) => jsm.consumers.info(stream, name)));
  // Acknowledged means stored in the copy.
  return infos.every((info) => info.num_pending === 0 && info.num_ack_pending === 0);
}
