import { createServer, connect as dial, type Socket } from "node:net";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "../../nats/mod.ts";
import { type Client, silent } from "./nats.ts";

/** One message on its way between a client and the server: its whole frame, headers and all. */
export interface Passing {
  from: "client" | "server";
  text: string;
}

/** What becomes of a message; one that is held passes at `release()`, later than what was sent after it. */
export type Verdict = "pass" | "drop" | "hold";

/** A network between clients and a nats-server that loses or delays exactly the messages that a test says. */
export interface NatsProxy extends AsyncDisposable {
  readonly url: string;
  /** Messages dropped or held so far. */
  readonly touched: number;
  connect(): Promise<Client>;
  /** Judges every message from now on. Everything passes until then. */
  judge(rule: (message: Passing) => Verdict): void;
  /** Everything arrives so many milliseconds later from now on, in order; asked anew for each piece. Until `release()`. */
  slow(latencyMs: () => number): void;
  /** Lets everything pass again, what is held included. */
  release(): void;
  /** Breaks all connections. Clients may come back. */
  cut(): void;
  /** Breaks all connections, and each new one as soon as the client introduces itself, until `release()`. */
  refuse(): void;
  /** Connections that were refused so far. */
  readonly refused: number;
}

/** Starts a proxy to the server at `target`. */
export async function startProxy(target: string): Promise<NatsProxy> {
  const { hostname, port } = new URL(target);
  let rule: (message: Passing) => Verdict = () => "pass";
  let held: (() => void)[] = [];
  let touched = 0;
  let latencyMs: (() => number) | undefined;
  let refusing = false;
  let refused = 0;
  const sockets = new Set<Socket>();
  const closers: (() => Promise<void>)[] = [];

  const relay = (from: Passing["from"], source: Socket, sink: Socket) => {
    let buffer = Buffer.alloc(0);
    const line = createLine(sink);
    source.on("data", (chunk: Buffer) => {
      if (refusing && from === "client") {
        refused += 1;
        source.destroy();
        return;
      }
      buffer = Buffer.concat([buffer, chunk]);
      for (let length = frameLength(buffer); length !== undefined; length = frameLength(buffer)) {
        const frame = buffer.subarray(0, length);
        buffer = buffer.subarray(length);
        const verdict = isMessage(frame) ? rule({ from, text: frame.toString("latin1") }) : "pass";
        if (verdict !== "pass") touched += 1;
        if (verdict === "pass") line.write(frame, latencyMs?.());
        if (verdict === "hold") held.push(() => sink.write(frame));
      }
    });
    source.on("close", () => sink.destroy());
    source.on("error", () => sink.destroy());
  };
  const server = createServer((client) => {
    const upstream = dial(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    }
    relay("client", client, upstream);
    relay("server", upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("Cannot learn the port of the proxy");
  const url = `nats://127.0.0.1:${address.port}`;
  return {
    url,
    get touched() {
      return touched;
    },
    async connect() {
      const connection = await connect({
        servers: url,
        name: "through the proxy",
        log: silent,
        handshakeTimeoutMs: 300,
      });
      closers.push(() => connection.close());
      return {
        connection,
        js: jetstream(connection),
        // A lost answer is noticed soon.
        jsm: await jetstreamManager(connection, { checkAPI: false, timeout: 500 }),
      };
    },
    judge(next) {
      rule = next;
    },
    get refused() {
      return refused;
    },
    refuse() {
      refusing = true;
      for (const socket of sockets) socket.destroy();
    },
    slow(next) {
      latencyMs = next;
    },
    release() {
      refusing = false;
      latencyMs = undefined;
      rule = () => "pass";
      for (const pass of held) pass();
      held = [];
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(closers.map((close) => close()));
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A wire on which nothing overtakes: what is sent later arrives later, however slow what went before it is. */
function createLine(sink: Socket): { write(frame: Buffer, delayMs: number | undefined): void } {
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
    write(frame, delayMs = 0) {
      if (delayMs === 0 && waiting.length === 0) {
        sink.write(frame);
        return;
      }
      waiting.push({ frame, due: performance.now() + delayMs });
      if (waiting.length === 1) arrive();
    },
  };
}

function isMessage(frame: Buffer): boolean {
  return /^H?(PUB|MSG) /.test(frame.subarray(0, 5).toString("latin1"));
}

/** Length of the first whole frame: a line, and for a message also the payload whose length ends the line. */
function frameLength(buffer: Buffer): number | undefined {
  const lineEnd = buffer.indexOf("\r\n");
  if (lineEnd < 0) return undefined;
  const payload = isMessage(buffer)
    ? Number(buffer.subarray(buffer.lastIndexOf(" ", lineEnd), lineEnd).toString()) + 2
    : 0;
  const length = lineEnd + 2 + payload;
  return length <= buffer.length ? length : undefined;
}
