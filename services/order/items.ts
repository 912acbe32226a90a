import type { MessageShape } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Context } from "hono";
import type { CatalogueItemSchema } from "../../gen/shop/order/v1/catalogue_item_pb.ts";
import { type Env, readQuery } from "../../lib/mod.ts";
import { catalogueItem, type Ledger, MAX_PAGE, viewPage } from "../../nats/mod.ts";
import * as api from "./api.ts";

interface ItemSource {
  jsm: JetStreamManager;
  ledger: Ledger;
}

/**
 * The service's copy of the catalogue, for lists: kept in memory, and brought up to date before each answer by what was stored
 * since. A moment old at most; orders are priced by what the leader has.
 */
class Catalogue {
  readonly #source: ItemSource;
  readonly #items = new Map<string, MessageShape<typeof CatalogueItemSchema>>();
  #from = 1;
  #reading: Promise<void> | undefined;

  constructor(source: ItemSource) {
    this.#source = source;
  }

  /** By sku, those behind `after`. */
  async items(after = ""): Promise<api.Item[]> {
    // Requests that come meanwhile share this reading.
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
    return [...this.#items.values()]
      .filter(({ sku }) => sku > after)
      .sort((a, b) => (a.sku < b.sku ? -1 : 1))
      .map(({ sku, unitPriceCents, currency }) => ({
        sku,
        unit_price_cents: Number(unitPriceCents),
        currency,
      }));
  }

  async #read(): Promise<void> {
    const { jsm, ledger } = this.#source;
    for (;;) {
      const page = await viewPage(jsm, ledger.stream, catalogueItem, {
        from: this.#from,
        limit: MAX_PAGE,
      });
      for (const { id, seq, value } of page) {
        this.#items.set(id, value);
        this.#from = seq + 1;
      }
      if (page.length === 0) return;
    }
  }
}

/** `GET /items`: what is on sale, so that a client can show what an order will come to. */
export function itemsRoute(source: ItemSource): (context: Context<Env>) => Promise<Response> {
  const catalogue = new Catalogue(source);
  return async (context) => {
    const { limit, cursor } = readQuery(context.req.query(), api.listItems.query);
    const found = await catalogue.items(cursor);
    const items = found.slice(0, limit);
    const last = items.at(-1);
    return context.json({ items, ...(found.length > limit && last && { next_cursor: last.sku }) });
  };
}
