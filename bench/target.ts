/** What is asked for when one order is placed, the same for every target. */
export interface OrderRequest {
  /** Unique in a run. The idempotency key, or whatever the target takes as one. */
  readonly key: string;
  readonly sku: string;
}

/** A system that is measured: this shop, or a peer that does the same checkout. */
export interface Target extends AsyncDisposable {
  /** As it stands in the tables: `shop`, `restate`, `dbos`, `rest`. */
  readonly name: string;
  /** What runs, in which version: `{ "nats-server": "2.15.1" }`. */
  readonly versions: Readonly<Record<string, string>>;
  /** One sentence each, for the report: how it is set up, and what durability that gives. */
  readonly settings: readonly string[];
  /** The processes that work on orders, by name, without the load generator. */
  pids(): ReadonlyMap<string, number>;
  /** How many messages it has stored since it was started. Default: they are not counted. */
  messages?(): Promise<number>;
  /**
   * How many messages it has yet to handle: what is done beside an order and may lag behind it. Default: nothing is, since
   * an order has ended only when all is done.
   */
  backlog?(): Promise<number>;
  /**
   * Places one order and resolves when it has ended; `acceptedMs` is when it was accepted and `endedMs` when it was
   * completed, both in milliseconds from the call.
   * @throws {Error} If it was refused, or ended otherwise than completed.
   */
  checkout(order: OrderRequest): Promise<{ acceptedMs: number; endedMs: number }>;
}

/** The skus that orders are spread over. The target has a million of each in stock. */
export const skus = Array.from({ length: 100 }, (_, i) => `sku-${i}`);
