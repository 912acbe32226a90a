import { park } from "../../nats/mod.ts";
import type { Client } from "./nats.ts";

/**
 * Has a consumer's service give up the next message that it is delivered, as a processor does.
 * @returns The dead letter's id.
 */
export async function parkNext(
  { connection, js }: Client,
  stream: string,
  service: string,
  error = "a test",
): Promise<string> {
  const consumer = await js.consumers.get(stream, service);
  const msg = await consumer.next({ expires: 5_000 });
  if (msg === null) throw new Error(`There is no message of ${stream} for ${service}`);
  const parked = await park(connection, msg, { service, error });
  if (parked.kind !== "committed") throw new Error(`Cannot park message ${msg.seq}: ${parked.kind}`);
  await msg.ackAck();
  return `${service}.${service}.${stream}.${msg.seq}`;
}
