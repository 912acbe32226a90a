import { createAdaptorServer } from "@hono/node-server";
import type { Hono } from "hono";
import { StartError } from "./config.ts";

export interface ServeOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Variable that changes the port, for the error if it is taken. */
  portVariable: string;
  service: string;
  /** Default 30,000: how long a client may take to send a request. */
  requestTimeoutMs?: number;
  /** Default 10,000: how long it may take to send the headers. */
  headersTimeoutMs?: number;
}

export interface Server extends AsyncDisposable {
  readonly url: string;
}

const REQUEST_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** How often slow clients are looked for: no later than so after their time is out, they are cut off. */
const CHECK_EVERY_MS = 1_000;
/** An idle connection is kept for longer than load balancers do, so that they are the ones who close it. */
const KEEP_ALIVE_MS = 65_000;
/** Requests under way, event streams, and idle connections of clients that keep some open. */
const MAX_CONNECTIONS = 16_384;
/** A request has about a kilobyte of headers. */
const MAX_HEADER_BYTES = 16 * 1024;
/** What is still being answered after that when the server closes is cut off. */
const DRAIN_MS = 3_000;

/**
 * Serves `app` until disposed of; then takes no more connections and waits for the requests under way.
 * @throws {StartError} If the port is taken, naming it and the variable that changes it.
 */
export async function serve(app: Pick<Hono, "fetch">, options: ServeOptions): Promise<Server> {
  const server = createAdaptorServer({
    fetch: app.fetch,
    // HTTP/1.0 has no Host header, and simple health checks speak it.
    hostname: "localhost",
    serverOptions: {
      requestTimeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      headersTimeout: options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
  }) as import("node:http").Server;
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const { service, port, portVariable } = options;
      if (cause.code !== "EADDRINUSE") return reject(cause);
      reject(
        new StartError(`Cannot start ${service}: port ${port} is taken; free it or set ${portVariable}`, {
          cause,
        }),
      );
    });
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  return {
    url: `http://${options.host}:${port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const cutOff = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
      await closed;
      clearTimeout(cutOff);
    },
  };
}
