import { createServer, connect as dial, type Socket } from "node:net";

/** Between clients and a server, as a network that loses everything from one moment to the next and closes nothing. */
export interface Freezer extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Connections stay open and are acknowledged; nothing passes, and new ones get no answer. */
  freeze(): void;
  /** What was sent meanwhile arrives. */
  thaw(): void;
}

/** Starts a proxy to a port of this machine. */
export async function startFreezer(target: number): Promise<Freezer> {
  const sockets = new Set<Socket>();
  let frozen = false;
  const server = createServer((client) => {
    const upstream = dial(target, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("data", (chunk) => void to.write(chunk));
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      // Its end is told by "close".
      from.on("error", () => to.destroy());
      if (frozen) from.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("Cannot learn the port of the proxy");
  return {
    port: address.port,
    freeze() {
      frozen = true;
      for (const socket of sockets) socket.pause();
    },
    thaw() {
      frozen = false;
      for (const socket of sockets) socket.resume();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
