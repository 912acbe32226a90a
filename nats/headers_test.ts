import { headers as clientHeaders } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { commit } from "./commit.ts";
import { HeaderLines, HeaderText, headerLine, headersOf } from "./headers.ts";
import { testTopology } from "./testing.ts";

const decoder = new TextDecoder();

describe("HeaderLines", () => {
  it("writes what the client's own headers write", () => {
    const theirs = clientHeaders() as ReturnType<typeof clientHeaders> & { encode(): Uint8Array };
    const ours = new HeaderLines();
    for (const headers of [theirs, ours]) {
      headers.set("ce-id", "1");
      headers.set("x-text", "Grüße, 世界");
    }
    expect(decoder.decode(ours.encode())).toBe(decoder.decode(theirs.encode()));
  });

  for (const value of ["a\r\nNats-Rollup: all", "a\nb", "a\r"]) {
    it(`refuses ${JSON.stringify(value)}`, () => {
      expect(() => new HeaderLines().set("tracestate", value)).toThrow(TypeError);
      expect(() => headerLine("tracestate", value)).toThrow(TypeError);
    });
  }
});

describe("HeaderText", () => {
  const text = new HeaderText(
    new TextEncoder().encode("NATS/1.0 100 Idle\r\nA: 1\r\nAB:2\r\nempty: \r\nA: 3\r\nlast: Grüße \r\n\r\n"),
  );

  it("gives the first value of a name as it was sent, without the space around it", () => {
    expect([text.get("A"), text.get("AB"), text.get("last")]).toEqual(["1", "2", "Grüße"]);
  });

  it("gives nothing for a name that is not there, however it is written elsewhere", () => {
    expect([text.get("B"), text.get("a"), text.get("100 Idle"), text.get("empty")]).toEqual(["", "", "", ""]);
    expect([text.has("B"), text.has("a"), text.has("A"), text.has("empty")]).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });
});

describe("headersOf()", () => {
  let server: NatsServer;
  let client: Client;
  beforeAll(async () => {
    server = await startNats();
    await applyTopology({ servers: server.url, topology: testTopology });
    client = await server.connect();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it("reads the bytes of a delivered message, and says what the client says", async () => {
    const headers = new HeaderLines();
    headers.set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    headers.set("x-text", "Grüße");
    const data = new TextEncoder().encode("payload\r\nNats-Stream: forged\r\n");
    await commit(client.connection, "INBOX", [{ subject: "inbox.add.a", data, headers }]);
    const consumer = await client.js.consumers.get("INBOX", "test");
    const msg = await consumer.next();
    if (msg === null) throw new Error("Cannot test: nothing was delivered");
    const read = headersOf(msg);
    // The quick way, and not the one that is there in case the client changes.
    expect(read).toBeInstanceOf(HeaderText);
    for (const name of ["traceparent", "x-text", "Nats-Expected-Stream", "Nats-Stream"]) {
      expect([name, read?.get(name), read?.has(name)]).toEqual([
        name,
        msg.headers?.get(name),
        msg.headers?.has(name),
      ]);
    }
    msg.ack();
  });

  it("finds none on a message without headers", async () => {
    await client.js.publish("inbox.add.b", "x");
    const consumer = await client.js.consumers.get("INBOX", "test");
    const msg = await consumer.next();
    if (msg === null) throw new Error("Cannot test: nothing was delivered");
    expect(headersOf(msg)).toBeUndefined();
    msg.ack();
  });
});
