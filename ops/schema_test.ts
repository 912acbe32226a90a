import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyTopology,
  type Contract,
  commit,
  newHeaders,
  orderCreated,
  passStartGate,
  reviewTimer,
  SchemaStore,
  screening,
} from "../nats/mod.ts";
import { type Client, type NatsServer, silent, startNats } from "../test/support/mod.ts";
import { runOps } from "./program.ts";
import type { Preview } from "./schema_preview.ts";
import { collect } from "./testing.ts";

const proto = fileURLToPath(new URL("../proto/", import.meta.url));
let nats: NatsServer;
let client: Client;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "schema-test-"));
  nats = await startNats();
  client = await nats.connect();
  await applyTopology({ servers: nats.url });
  await using store = new SchemaStore(client.connection, { source: "/test", log: silent });
  const urls = new Map<Contract, string>();
  for (const service of ["order", "fraud"]) {
    const options = { service, registryUrl: "http://registry", log: silent };
    for (const [contract, url] of await passStartGate({ jsm: client.jsm, store }, options))
      urls.set(contract, url);
  }
  await storeMessages("ORDER", [orderCreated], { ids: ["o1", "o2"], urls });
  await storeMessages("FRAUD", [reviewTimer, screening], { ids: ["o2"], urls });
});
afterAll(async () => {
  await nats[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Messages as their owner stores them, with payloads that nobody reads here. */
async function storeMessages(
  stream: string,
  contracts: readonly Contract[],
  { ids, urls }: { ids: readonly string[]; urls: ReadonlyMap<Contract, string> },
): Promise<void> {
  for (const contract of contracts) {
    for (const id of ids) {
      const headers = newHeaders();
      headers.set("ce-dataschema", urls.get(contract) ?? "");
      const entry = { subject: `${contract.subject}.${id}`, data: new Uint8Array(), headers };
      expect((await commit(client.connection, stream, [entry])).kind).toBe("committed");
    }
  }
}

async function check(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { output, text } = collect();
  const environment = { NATS_URL: nats.url, DATA_DIR: "/nowhere", PATH: process.env.PATH };
  const code = await runOps(["schema", "check", ...args], { output, environment });
  return { code, ...text() };
}

/** A file of `proto/` with an edit, somewhere else. */
async function edited(path: string, before: string, after: string): Promise<string> {
  const text = await readFile(join(proto, path), "utf8");
  expect(text).toContain(before);
  const file = join(folder, "edited.proto");
  await writeFile(file, text.replace(before, after));
  return file;
}

const created = "shop/order/v1/order_created.proto";

async function changes(...args: string[]): Promise<Preview[]> {
  return JSON.parse((await check(...args, "--json")).out).changes;
}

describe("ops schema check", () => {
  it("shows what a compatible change of a file would mean, and ends with 0", async () => {
    const file = await edited(
      created,
      "string attempt_id = 3;",
      "string attempt_id = 3; string gift_note = 5;",
    );
    const { code, out, err } = await check(file);
    expect(code).toBe(0);
    expect(out).toContain(
      "order.created\n  FIELD_ADDED at #/OrderCreated/5 (nothing → string gift_note = 5)",
    );
    expect(out).toContain("BACKWARD ok, BACKWARD_TRANSITIVE ok, FORWARD ok");
    expect(out).toContain("read by coordinator, notification, analytics, monitor");
    expect(out).toMatch(/retained {2}2 {2}schema \d+, version 1 {2}can be read/);
    expect(err).toBe("1 subject would change, none would be refused\n");
  });

  it("says mode by mode what a breaking one would strand, retained and waiting, and ends with 1", async () => {
    const file = await edited("shop/fraud/v1/screening.proto", "string status = 2;", "int32 status = 2;");
    const { code, out, err } = await check(file);
    expect(code).toBe(1);
    expect(out).toMatch(/refused: BACKWARD_TRANSITIVE, .*FIELD_SCALAR_KIND_CHANGED at #\/Screening\/2/);
    expect(out).toContain("refused: 1 orders in review hold schema");
    expect(out).toMatch(/orders in review +1 +schema \d+, version 1 +stranded: cannot be read/);
    expect(err).toContain("1 would be refused");
    expect(await changes(file)).toEqual([
      {
        subject: "fraud.screening",
        mode: "BACKWARD_TRANSITIVE",
        refused: [expect.any(String), expect.any(String)],
        differences: ["FIELD_SCALAR_KIND_CHANGED at #/Screening/2 (string status = 2 → int32 status = 2)"],
        modes: {
          NONE: 0,
          BACKWARD: 1,
          BACKWARD_TRANSITIVE: 1,
          FORWARD: 1,
          FORWARD_TRANSITIVE: 1,
          FULL: 2,
          FULL_TRANSITIVE: 2,
        },
        readers: ["order", "analytics", "monitor"],
        retained: [{ id: expect.any(Number), version: 1, count: 1, readable: false }],
        waiting: [
          { what: "orders in review", id: expect.any(Number), version: 1, count: 1, readable: false },
        ],
        partly: false,
      },
    ]);
  });

  it("follows a change of an import to every message that carries it", async () => {
    const file = await edited("shop/order/v1/order.proto", "int32 quantity = 2;", "string quantity = 2;");
    const subjects = (await changes(file)).map(({ subject }) => subject);
    expect(subjects).toEqual([
      "order.created",
      "order.cancel_requested",
      "fraud.screening",
      "fraud.order_cleared",
      "shop/order/v1/order.proto",
    ]);
  });

  it("takes a folder in place of proto/, in which a message that is gone is refused", async () => {
    const copy = join(folder, "proto");
    await cp(proto, copy, { recursive: true });
    await rm(join(copy, created));
    const [change] = await changes(copy);
    expect(change).toMatchObject({
      subject: "order.created",
      refused: ["shop.order.v1.OrderCreated is gone"],
    });
  });

  it("takes a revision, and finds nothing that differs where nothing does", async () => {
    await expect(check("HEAD")).resolves.toEqual({
      code: 0,
      out: "",
      err: "nothing that is stored would change\n",
    });
    expect(await changes(proto)).toEqual([]);
  });

  it("says when there is more than it looks at", async () => {
    const file = await edited(
      created,
      "string attempt_id = 3;",
      "string attempt_id = 3; string gift_note = 5;",
    );
    expect(await changes(file, "--max-messages", "1")).toMatchObject([{ partly: false }]);
    expect((await check(file, "--max-messages", "0")).code).toBe(2);
  });

  it("ends with 1 and the compiler's words for what is no schema, and with 2 for what is nothing", async () => {
    const broken = await edited(created, "string attempt_id = 3;", "strin attempt_id = 3;");
    const { code, err } = await check(broken);
    expect(code).toBe(1);
    expect(err).toMatch(
      /^Cannot compile .*:\nshop\/order\/v1\/order_created\.proto:\d+:\d+: cannot find `strin`/,
    );
    for (const nothing of ["no-such-branch", "--upload-pack=x", join(folder, "none.proto")]) {
      expect((await check(nothing)).code).toBe(2);
    }
    const stranger = join(folder, "stranger.proto");
    await writeFile(stranger, `syntax = "proto3"; package elsewhere; message Stranger {}`);
    expect(await check(stranger)).toMatchObject({ code: 2, err: expect.stringContaining("what") });
  });
});
