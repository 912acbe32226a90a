import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type Contract, newHeaders, passStartGate, SchemaStore, streamHolding } from "../../nats/mod.ts";
import { silent } from "./nats.ts";

const urls = new WeakMap<NatsConnection, Map<string, Promise<ReadonlyMap<Contract, string>>>>();

/** Headers for a message that a test stores in its owner's place: they name its schema, which is registered as the owner would. */
export async function namedHeaders(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  contract: Contract,
): Promise<ReturnType<typeof newHeaders>> {
  const owner = streamHolding(contract)?.owner ?? "";
  const known = urls.get(connection) ?? new Map();
  urls.set(connection, known);
  const registered = known.get(owner) ?? register({ connection, jsm }, owner);
  known.set(owner, registered);
  const headers = newHeaders();
  headers.set("ce-dataschema", (await registered).get(contract) ?? "");
  return headers;
}

async function register(client: { connection: NatsConnection; jsm: JetStreamManager }, service: string) {
  await using store = new SchemaStore(client.connection, { source: `/services/${service}`, log: silent });
  return await passStartGate(
    { jsm: client.jsm, store },
    { service, registryUrl: "http://registry", log: silent },
  );
}
