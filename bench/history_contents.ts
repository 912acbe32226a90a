import type { JetStreamManager } from "@nats-io/jetstream";
import { catalogueItem, orderIdSecret, topology } from "../nats/mod.ts";

/** What the streams hold. */
export interface Contents {
  readonly orders: number;
  readonly messages: number;
  /** On the disk. */
  readonly bytes: number;
}

/** What the order service's ledger holds besides one message for each order. */
const others = [catalogueItem, orderIdSecret];

export async function contentsOf(jsm: JetStreamManager): Promise<Contents> {
  const states = await Promise.all(
    topology.streams.map(async ({ name }) => (await jsm.streams.info(name)).state),
  );
  const filters = others.map(({ subject }) => `${subject}.>`);
  const [ledger, ...counted] = await Promise.all(
    [undefined, ...filters].map((filter) =>
      jsm.streams.info("ORDER", filter === undefined ? undefined : { subjects_filter: filter }),
    ),
  );
  const besides = counted.flatMap((info) => Object.values(info.state.subjects ?? {}));
  return {
    orders: (ledger?.state.messages ?? 0) - sum(besides),
    messages: sum(states.map(({ messages }) => messages)),
    bytes: sum(states.map(({ bytes }) => bytes)),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
