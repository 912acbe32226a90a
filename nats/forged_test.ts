import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ItemSchema } from "../gen/shop/inventory/v1/item_pb.ts";
import { IdempotencyKeySchema } from "../gen/shop/order/v1/idempotency_key_pb.ts";
import { type Client, drained, type NatsServer, silent, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { key, subjectOf } from "./contracts/mod.ts";
import { Processor } from "./processor.ts";
import { readLast, UnreadableStateError } from "./read.ts";
import { add, counter, openLedger, testTopology } from "./testing.ts";

describe("what a server sends to a ledger in answer to somebody else's question", () => {
  let server: NatsServer;
  let client: Client;
  beforeAll(async () => {
    server = await startNats();
    await applyTopology({ servers: server.url, topology: testTopology });
    client = await server.connect();
    await client.jsm.streams.add({ name: "EVIL", subjects: ["evil"], allow_direct: true });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  /** Has the server store `data` under `subject`, as one can who may not publish there. */
  async function forge(
    stream: string,
    subject: string,
    { data, headers }: { data: Uint8Array; headers?: string },
  ): Promise<void> {
    const before = (await client.jsm.streams.info(stream)).state.last_seq;
    const block =
      headers === undefined ? {} : { headers: { encode: () => new TextEncoder().encode(headers) } };
    await client.connection.request("evil", data, { timeout: 5_000, ...(block as object) });
    client.connection.publish("$JS.API.DIRECT.GET.EVIL.evil", "", { reply: subject });
    await until("the answer to be stored", async () => {
      return (await client.jsm.streams.info(stream)).state.last_seq === before + 1;
    });
  }

  it("is no message: it is parked, and its handler never sees it", async () => {
    const seen: string[] = [];
    const { ledger } = openLedger(client);
    await using processor = new Processor(client.connection, client.js, ledger, {
      service: "test",
      consumers: [{ stream: "INBOX", name: "test" }],
      handlers: [
        {
          contract: add,
          keys: () => [],
          decide: (_, _message, { seq }) => {
            seen.push(`message ${seq}`);
            return { kind: "done", messages: [] };
          },
        },
      ],
      log: silent,
    });
    const command = (orderId: string) =>
      toBinary(IdempotencyKeySchema, create(IdempotencyKeySchema, { orderId }));
    await forge("INBOX", subjectOf(add, "a"), { data: command("forged") });
    await client.js.publish(subjectOf(add, "a"), command("real"));
    await until("both to be dealt with", () => drained(client.jsm, "INBOX", "test"));
    expect(processor.ready).toBe(true);
    expect(seen).toEqual(["message 2"]);
    const parked = await client.jsm.streams.getMessage("DEAD_LETTER", { seq: 1 });
    expect(parked?.header.get("dead-letter-error")).toBe("not written by the owner of its stream");
  });

  it("is no state to decide upon", async () => {
    const data = toBinary(ItemSchema, create(ItemSchema, { available: 7n }));
    await forge("TEST", subjectOf(counter, "a"), { data });
    await expect(readLast(client.connection, "TEST", key(counter, "a"))).rejects.toThrow(
      UnreadableStateError,
    );
  });

  for (const headers of ["NATS/1.0\r\nX: abcd", "NATS/1.0\r\nX: abcd\r\n", "NATS/1.0"]) {
    it(`is known also where the headers of the message do not end as they should: ${JSON.stringify(headers)}`, async () => {
      const data = toBinary(ItemSchema, create(ItemSchema, { available: 7n }));
      const id = `glued${headers.length}`;
      // Two bytes that the server takes for the empty line.
      await forge("TEST", subjectOf(counter, id), { data, headers: `${headers}zz` });
      await expect(readLast(client.connection, "TEST", key(counter, id))).rejects.toThrow(
        UnreadableStateError,
      );
    });
  }
});
