import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applyTopology, orMissing, SCHEMAS_STREAM } from "../../nats/mod.ts";
import { type Client, type NatsServer, silent, startNats } from "../../test/support/mod.ts";
import { RegistryData } from "./data.ts";

let nats: NatsServer;
let client: Client;
beforeAll(async () => {
  nats = await startNats();
  client = await nats.connect();
  await applyTopology({ servers: nats.url });
});
afterAll(() => nats[Symbol.asyncDispose]());

describe("RegistryData", () => {
  it("are whole where there is nothing yet, and lost where there are messages and no schemas", async () => {
    const said: string[] = [];
    const log = { ...silent, error: (_: object, text: string) => void said.push(text) };
    const data = new RegistryData({ ...client, log });
    expect(data.whole).toBe(false);
    await data.look();
    expect(data.whole).toBe(true);
    await client.js.publish("order.created.o1");
    await data.look();
    expect(data.whole).toBe(false);
    expect(said).toEqual([expect.stringContaining("there are messages and no schemas")]);
    await client.js.publish("$KV.SCHEMAS.schema.1");
    await data.look();
    expect(data.whole).toBe(true);
    await orMissing(client.jsm.streams.delete(SCHEMAS_STREAM));
    await applyTopology({ servers: nats.url });
    await data.look();
    expect(data.whole).toBe(false);
    expect(said.at(-1)).toContain("KV_SCHEMAS: it was made at");
  });
});
