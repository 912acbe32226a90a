import { type ConnectionOptions, type NatsConnection, connect as natsConnect } from "@nats-io/transport-node";
import { type Access, accessOptions } from "./access.ts";

/** Where a program says what a person may have to look at. pino's loggers fit. */
export interface Log {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export interface ConnectOptions extends Access {
  /** Name of the connection in the server's monitoring. */
  name: string;
  log: Log;
  /** Where answers come. Default: the client's own, which the credential of a service does not let it read. */
  inboxPrefix?: string;
  /** How long a server may take to let a connection in before the next try. Default 5,000. */
  handshakeTimeoutMs?: number;
}

/** A first connection that takes this long has a cause: a wrong address, a server that is down, a wrong certificate. */
const STILL_TRYING_EVERY_MS = 5_000;

/**
 * Connects, and keeps connecting for as long as the process lives: before the first connection and after each lost
 * one, with a jittered wait. Work that was under way when a connection was lost ends as an unknown outcome (see
 * `commit()`); the client drops what it had not yet written.
 *
 * A server that refuses the credential twice in a row later on ends the connection for good: `closed()` says so.
 *
 * @throws {Error} If the server refuses the credential, there is none in the file, or the URL is no URL.
 */
export async function connect(options: ConnectOptions): Promise<NatsConnection> {
  const { log, inboxPrefix } = options;
  const settings: ConnectionOptions = {
    ...accessOptions(options),
    ...(inboxPrefix !== undefined && { inboxPrefix }),
    name: options.name,
    waitOnFirstConnect: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    // A connection that breaks in the middle of its handshake is noticed by this alone.
    timeout: options.handshakeTimeoutMs ?? 5_000,
    // A peer that vanished without a word, or hangs, is noticed after two pings without an answer: with three nodes this
    // is how long a service does nothing while the others already have a new leader.
    pingInterval: 3_000,
    maxPingOut: 2,
    noAsyncTraces: true,
  };
  // The client does not tell why the first connection fails, and goes on trying.
  const waiting = setInterval(() => {
    log.warn({ servers: settings.servers }, "no connection to NATS yet, still trying");
  }, STILL_TRYING_EVERY_MS);
  const connection = await natsConnect(settings).finally(() => clearInterval(waiting));
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === "disconnect") log.warn({ server: status.server }, "disconnected from NATS");
      if (status.type === "reconnect") log.info({ server: status.server }, "reconnected to NATS");
      if (status.type === "error") log.error({ err: status.error }, "NATS reports an error");
    }
  })();
  return connection;
}
