import { createServer, connect as dial, type Socket } from "node:net";
import { loopback } from "../tools/ports.ts";

/** A nats-server as one service sees it: what the service writes to its own ledger may take its time. */
export interface SlowLedger extends AsyncDisposable {
  /** For the service's NATS_URL. */
  readonly url: string;
  /** From now on each write arrives so much later. 0 ends that; what is on its way arrives when it is due. */
  slow(ms: number): void;
}

/**
 * Starts a proxy to the nats-server on `port`. Writes to the ledger of `prefix` are held up, as by a slow database, and
 * stay in order; all else passes at once: what the service reads, what it is told, and that it says that it is still at
 * work. So it is slow and nothing else is wrong with it.
 *
 * @param options.prefix First token of the ledger's subjects.
 */
export async function startSlowLedger({
  port,
  prefix,
}: {
  port: number;
  prefix: string;
}): Promise<SlowLedger> {
  let delayMs = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = dial(port, loopback);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      // An error is followed by a close, which the other side is told of.
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    upstream.pipe(client);
    const late = createLateLine(upstream);
    let rest: Buffer = Buffer.alloc(0);
    client.on("data", (chunk: Buffer) => {
      const { frames, left } = splitFrames(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]));
      rest = left;
      for (const frame of frames) {
        if (isWriteTo(prefix, frame)) late.write(frame, delayMs);
        else upstream.write(frame);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, loopback, resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("Cannot learn the port of the proxy");
  return {
    url: `nats://${loopback}:${address.port}`,
    slow(ms) {
      delayMs = ms;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** On which nothing overtakes: a batch arrives in order, and what is written after it arrives after it. */
function createLateLine(sink: Socket): { write(frame: Buffer, delayMs: number): void } {
  const waiting: { frame: Buffer; due: number }[] = [];
  const arrive = () => {
    for (let [next] = waiting; next !== undefined; [next] = waiting) {
      const left = next.due - performance.now();
      if (left > 0) {
        setTimeout(arrive, left);
        return;
      }
      waiting.shift();
      if (!sink.destroyed) sink.write(next.frame);
    }
  };
  return {
    write(frame, delayMs) {
      waiting.push({ frame, due: performance.now() + delayMs });
      if (waiting.length === 1) arrive();
    },
  };
}

/**
 * The whole frames of what a client has sent, each a line, with the payload whose length ends the line if it is a
 * message; and the beginning of the next one.
 */
export function splitFrames(bytes: Buffer): { frames: Buffer[]; left: Buffer } {
  const frames: Buffer[] = [];
  let from = 0;
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", from);
    if (lineEnd < 0) break;
    let end = lineEnd + 2;
    if (isMessage(bytes, from)) {
      const length = bytes.toString("latin1", bytes.lastIndexOf(" ", lineEnd) + 1, lineEnd);
      end += Number(length) + 2;
    }
    if (end > bytes.length) break;
    frames.push(bytes.subarray(from, end));
    from = end;
  }
  return { frames, left: bytes.subarray(from) };
}

function isMessage(bytes: Buffer, from: number): boolean {
  return /^H?PUB /.test(bytes.toString("latin1", from, from + 5));
}

/** Whether the frame is a message whose subject begins with `prefix` and a dot. */
export function isWriteTo(prefix: string, frame: Buffer): boolean {
  if (!isMessage(frame, 0)) return false;
  const subject = frame.indexOf(" ") + 1;
  return frame.toString("latin1", subject, subject + prefix.length + 1) === `${prefix}.`;
}
