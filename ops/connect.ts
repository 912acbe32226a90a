import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { type Access, accessOptions, type FoundShop } from "../nats/mod.ts";

/** The servers cannot be reached or do not let the operator in; the message says which and why. */
export class UnreachableError extends Error {
  override name = "UnreachableError";
}

/** A person waits: what does not answer within this is not there. */
const TIMEOUT_MS = 5_000;

export interface Shop extends AsyncDisposable {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
}

/** @throws {UnreachableError} If there is no connection. */
export async function connectShop(config: Access & Partial<Pick<FoundShop, "how">>): Promise<Shop> {
  let connection: NatsConnection;
  try {
    connection = await connect({
      ...accessOptions(config),
      name: "ops",
      timeout: TIMEOUT_MS,
      // A command that goes on for long outlasts a restart of the servers; what is asked meanwhile fails by itself.
      maxReconnectAttempts: -1,
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    // A URL that holds a password is refused, and is not to get into a log by that.
    const at = config.servers.includes("@") ? "" : ` at ${config.servers}`;
    const how = config.how === undefined ? "" : `; ${config.how}`;
    throw new UnreachableError(`Cannot reach NATS${at}: ${why}${how}`, { cause });
  }
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  return { connection, jsm, [Symbol.asyncDispose]: () => connection.close() };
}
