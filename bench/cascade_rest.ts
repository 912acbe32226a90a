import type { Side } from "./cascade_side.ts";
import { SLOW_MS } from "./cascade_side.ts";
import { skus } from "./target.ts";
import { type StartOptions, startTarget } from "./targets.ts";

/** What this needs of `bench/peers/rest`, whose packages are not installed until it is measured. */
interface Chain extends Awaited<ReturnType<typeof startTarget>> {
  slowInventory(latencyMs: number): Promise<void>;
  stopInventory(): Promise<void>;
  startInventory(): Promise<void>;
  url(service: string): string;
}

/** Units of each sku at the start. */
const STOCK = 1_000_000;

/** The chain of REST calls that this project replaces. Its answer to an order is the end of the order. */
export async function startRestSide(options: StartOptions): Promise<Side> {
  const chain = (await startTarget("rest", options)) as Chain;
  let completed = 0;
  return {
    name: chain.name,
    versions: chain.versions,
    settings: [
      ...chain.settings,
      `Slow: inventory's handlers sleep for ${SLOW_MS / 1_000} s before they do anything. Dead: its process is killed, and started again.`,
    ],
    async place(order) {
      await chain.checkout(order);
      completed += 1;
      return { ended: Promise.resolve({ at: performance.now(), state: "completed" }) };
    },
    begin: (fault) => (fault === "slow" ? chain.slowInventory(SLOW_MS) : chain.stopInventory()),
    end: (fault) => (fault === "slow" ? chain.slowInventory(0) : chain.startInventory()),
    lookAgain: () => Promise.resolve(),
    async books() {
      const stock = await Promise.all(
        skus.map((sku) => read<{ available: number }>(`${chain.url("inventory")}/stock/${sku}`)),
      );
      const totals = await read<{ captured: number; refunded: number }>(`${chain.url("payment")}/totals`);
      return {
        completed,
        unitsTaken: stock.reduce((sum, { available }) => sum + STOCK - available, 0),
        paymentsTaken: totals.captured - totals.refunded,
      };
    },
    [Symbol.asyncDispose]: () => chain[Symbol.asyncDispose](),
  };
}

async function read<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`Cannot read ${url}: ${response.status}`);
  return (await response.json()) as T;
}
