import type { JsMsg } from "@nats-io/jetstream";
import type { Msg, MsgHdrs } from "@nats-io/transport-node";

/**
 * What a message to be stored carries as headers: all that publishing asks of them. The client's own fit; these are for
 * the hot path, where it would canonicalise and search every name of every message.
 */
export interface OutgoingHeaders {
  set(name: string, value: string): void;
  /** From `NATS/1.0` to the empty line. */
  encode(): Uint8Array;
}

/** Headers that are only ever added to, each name once, as the text that goes over the wire. */
export class HeaderLines implements OutgoingHeaders {
  #lines: string;

  /** @param lines What {@linkcode headerLine} made, put together. */
  constructor(lines = "") {
    this.#lines = lines;
  }

  /** @throws {TypeError} If the value would make a line of its own. */
  set(name: string, value: string): void {
    this.#lines += headerLine(name, value);
  }

  encode(): Uint8Array {
    return encoder.encode(`${VERSION}${this.#lines}\r\n`);
  }
}

const VERSION = "NATS/1.0\r\n";
const encoder = new TextEncoder();

/** @throws {TypeError} If the value would make a line of its own. */
export function headerLine(name: string, value: string): string {
  if (LINE_BREAK.test(value)) {
    throw new TypeError(`Cannot write the header ${name}: ${JSON.stringify(value)} has a line break`);
  }
  return `${name}: ${value}\r\n`;
}

const LINE_BREAK = /[\r\n]/;

/** What is asked of the headers of a message that came in. The client's own fit. */
export type IncomingHeaders = Pick<MsgHdrs, "get" | "has">;

/** The text of a header block, of which single values are read without taking the rest apart. */
export class HeaderText implements IncomingHeaders {
  readonly #text: string;

  /** @param block From `NATS/1.0` on. */
  constructor(block: Uint8Array) {
    this.#text = Buffer.from(block.buffer, block.byteOffset, block.length).toString();
  }

  has(name: string): boolean {
    return this.#text.includes(`\r\n${name}:`);
  }

  /** The first value of that name, as it was sent; empty if there is none. */
  get(name: string): string {
    const at = this.#text.indexOf(`\r\n${name}:`);
    if (at < 0) return "";
    const from = at + name.length + 3;
    return this.#text.slice(from, this.#text.indexOf("\r\n", from)).trim();
  }
}

/** The headers of a delivered message. A client that keeps its bytes elsewhere is asked the usual way. */
export function headersOf(delivered: JsMsg): IncomingHeaders | undefined {
  const { msg } = delivered as unknown as { msg?: Msg };
  const block = msg && headerBytes(msg);
  if (block === undefined) return delivered.headers;
  return block.length > 0 ? new HeaderText(block) : undefined;
}

/**
 * The bytes of a message's headers, as the client keeps them: header and payload in one piece. Empty if it has none;
 * undefined for a client that keeps them elsewhere.
 */
export function headerBytes(msg: Msg): Uint8Array | undefined {
  const { _rdata: bytes, _msg: frame } = msg as unknown as {
    _rdata?: Uint8Array;
    _msg?: { hdr?: number };
  };
  if (bytes === undefined || frame?.hdr === undefined) return undefined;
  return bytes.subarray(0, Math.max(0, frame.hdr));
}
