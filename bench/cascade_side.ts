import type { OrderRequest } from "./target.ts";

/** What is done to inventory, with what it is called in the report. */
export const faults = {
  slow: "inventory answers in 10 s",
  dead: "inventory is dead",
} as const;
export type Fault = keyof typeof faults;
export const faultNames = Object.keys(faults) as readonly Fault[];

/** How long inventory takes for each answer while it is slow. */
export const SLOW_MS = 10_000;

export interface Ending {
  /** As `performance.now()`. */
  readonly at: number;
  readonly state: "completed" | "cancelled";
}

/** An order that the customer was told is taken. */
export interface Accepted {
  /** Never resolves if it never ends. */
  readonly ended: Promise<Ending>;
}

/** What a system has written down so far, by its own word. Each order is for one unit. */
export interface Books {
  readonly completed: number;
  /** Units that are gone from the stock. */
  readonly unitsTaken: number;
  /** Payments taken and not given back. */
  readonly paymentsTaken: number;
}

/** A system whose inventory can be broken while it takes orders. */
export interface Side extends AsyncDisposable {
  /** As it stands in the tables: `shop`, `rest`. */
  readonly name: string;
  readonly versions: Readonly<Record<string, string>>;
  /** One sentence each, for the report. */
  readonly settings: readonly string[];
  /** Resolves when the order is accepted. @throws {Error} If it is refused. */
  place(order: OrderRequest): Promise<Accepted>;
  begin(fault: Fault): Promise<void>;
  /** Resolves when inventory is as it was. */
  end(fault: Fault): Promise<void>;
  /** Asks for the state of the orders whose end has not been heard of. */
  lookAgain(): Promise<void>;
  books(): Promise<Books>;
}
