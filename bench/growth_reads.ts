import type { Shop } from "../tools/supervisor.ts";
import { quantile } from "./stats.ts";

/** How long questions about what is stored take, medians in milliseconds. */
export interface Reads {
  /** `GET /orders/{id}` of finished orders. */
  readonly order: number;
  /** The first page of the finished orders. */
  readonly finished: number;
  /** The orders on their way, none: the coordinator's sweep asks the same. */
  readonly live: number;
}

interface Transition {
  readonly state: string;
}

const TIMES = 20;
/** The way of an order that nothing goes wrong with. */
const course = ["created", "reserving", "charging", "fulfilling", "completed"];

/**
 * Asks for some of the orders whose history was written, and for lists.
 * @throws {Error} If the shop does not know one of them as completed, with all of its history.
 */
export async function probeReads(shop: Shop, ids: readonly string[]): Promise<Reads> {
  const url = shop.url("order");
  for (const id of ids) await assertCompleted(`${url}/orders/${id}`);
  return {
    order: await medianMs((i) => get(`${url}/orders/${ids[i % ids.length]}`)),
    finished: await medianMs(() => get(`${url}/orders?state=completed`)),
    live: await medianMs(() => get(`${url}/orders?state=fulfilling`)),
  };
}

async function assertCompleted(url: string): Promise<void> {
  const { state, history } = (await get(url)) as { state?: string; history?: Transition[] };
  const states = history?.map((transition) => transition.state) ?? [];
  if (state !== "completed" || !course.every((one) => states.includes(one))) {
    throw new Error(
      `Cannot rely on the history: ${url} is ${state} by way of ${states.join(", ") || "nothing"}`,
    );
  }
}

async function medianMs(ask: (i: number) => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const began = performance.now();
    await ask(i);
    times.push(performance.now() - began);
  }
  return quantile(
    times.toSorted((a, b) => a - b),
    0.5,
  );
}

async function get(url: string): Promise<unknown> {
  const response = await fetch(url);
  const body: unknown = await response.json();
  if (!response.ok) throw new Error(`Cannot read ${url}: ${response.status} ${JSON.stringify(body)}`);
  return body;
}
