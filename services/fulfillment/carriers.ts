/** Who carries a parcel. The names are made up; a real shop puts its contracts here. */
export interface Carrier {
  readonly name: string;
  /** What its tracking numbers begin with. */
  readonly code: string;
}

const standard: Carrier = { name: "Parcel Mail", code: "PM" };

const byPriority: Readonly<Record<string, Carrier>> = {
  standard,
  express: { name: "Night Flight", code: "NF" },
};

/** The carrier for a shipping priority, the standard one for a priority that is not known here. */
export function carrierFor(priority: string): Carrier {
  return Object.hasOwn(byPriority, priority) ? (byPriority[priority] ?? standard) : standard;
}

/** The same for an order whenever it is asked for: a parcel that is announced twice is one parcel. */
export function trackingNumber(carrier: Carrier, orderId: string): string {
  return `${carrier.code}-${orderId}`;
}
