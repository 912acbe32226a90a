import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  candidateOf,
  commit,
  dataSchemaOf,
  listDeadLetters,
  newHeaders,
  orderCreated,
  SchemaStore,
} from "../nats/mod.ts";
import { compileEdited, fileNamed, requiredPriority } from "../nats/registry/testing.ts";
import { openShop, openStreams, type Streams, silent, type TestShop, until } from "./support/mod.ts";

let shop: TestShop;
let streams: Streams;

beforeAll(async () => {
  shop = await openShop();
  streams = await openStreams(shop.shop.operator);
});
afterAll(async () => {
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
});

describe("the gates of a running shop", () => {
  it("register every contract under the service that stores it, and every message names its schema there", async () => {
    const order = await shop.place();
    await shop.ends(order);
    const stored = await streams.jsm.streams.getMessage("ORDER", { last_by_subj: `order.created.${order}` });
    const url = new URL(stored?.header.get("ce-dataschema") ?? "");
    const { body } = await shop.call("registry", url.pathname);
    expect(body).toMatchObject({
      schemaType: "PROTOBUF",
      schema: expect.stringContaining("message OrderCreated {"),
    });
    const { body: versions } = await shop.call("registry", `${url.pathname}/versions`);
    expect(versions).toEqual([{ subject: "order.created", version: 1 }]);
  });

  it("need the registry's data and not its process: services start, and orders go on, while it is down", async () => {
    await shop.shop.stop("registry");
    await Promise.all(["order", "coordinator", "payment"].map((service) => shop.shop.restart(service)));
    expect((await shop.ends(await shop.place())).state).toBe("completed");
    await shop.shop.start("registry");
  });

  it("park a message of a build that nobody asked, at once, with the reason and its readers", async () => {
    // What a service with SCHEMA_GATE=off does: its schema is stored, and no version of its subject.
    await using store = new SchemaStore(streams.connection, { source: "/test", log: silent });
    const file = fileNamed(await compileEdited(requiredPriority), "shop/order/v1/order_created.proto");
    const headers = newHeaders();
    headers.set(
      "ce-dataschema",
      dataSchemaOf("http://127.0.0.1:8081", await store.store(candidateOf(file, new Map()))),
    );
    const entry = { subject: `${orderCreated.subject}.ord_forgotten`, data: new Uint8Array(), headers };
    expect((await commit(streams.connection, "ORDER", [entry])).kind).toBe("committed");

    const letters = await until("both readers to park it", async () => {
      const { letters } = await listDeadLetters(streams.jsm, { status: "parked" }, { limit: 10 });
      return letters.length === 2 && letters;
    });
    expect(letters.map(({ service }) => service).sort()).toEqual(["coordinator", "notification"]);
    for (const { error } of letters) {
      expect(error).toMatch(
        /^unreadable: schema \d+ cannot be read as the shop\.order\.v1\.OrderCreated of this build: /,
      );
      expect(error).toContain("REQUIRED_FIELD_REMOVED at #/OrderCreated/5");
    }
    // It holds nobody up.
    expect((await shop.ends(await shop.place())).state).toBe("completed");
  });
});
