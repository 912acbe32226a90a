import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  applyTopology,
  type Candidate,
  candidateOf,
  key,
  type Ledger,
  message,
  newTrace,
  payment,
  paymentVoided,
  SchemaStore,
  seedFile,
  writeCredentials,
} from "../nats/mod.ts";
import { compile, fileOf } from "../schemas/mod.ts";
import { type NatsServer, silent, startNats, until } from "../test/support/mod.ts";
import { common, readConfig, StartError } from "./config.ts";
import { connectService, serveHttp } from "./service.ts";

/** What somebody else has registered for payment's state. */
async function schemaOf(field: string): Promise<Candidate> {
  const text = `syntax = "proto3"; package shop.payment.v1; message Payment { ${field} }`;
  return candidateOf(fileOf(await compile({ "payment.proto": text }), "payment.proto"), new Map());
}

describe("connectService()", () => {
  let folder: string;
  let server: NatsServer;
  let stack: AsyncDisposableStack;
  let failures: Error[];
  /** What was logged. */
  let said: string[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "service-test-"));
    failures = [];
    said = [];
    const { operator } = writeCredentials(folder);
    server = await startNats({
      // Beside the folder of the server's own files, to which such a path is relative.
      configure: (text) => `${text}\ninclude "../${basename(folder)}/authorization.conf"\n`,
      access: { nkeyFile: operator },
    });
    stack = new AsyncDisposableStack();
  });
  afterEach(async () => {
    await stack.disposeAsync();
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const open = (nkeyFile: string, natsUrl = server.url) => {
    const environment = { NATS_URL: natsUrl, NATS_NKEY_FILE: nkeyFile, OPERATOR_TOKEN: "x" };
    const config = readConfig("payment", common, environment);
    const log = pino({}, { write: (line) => void said.push(JSON.parse(line).msg) });
    return connectService("payment", { config, log, stack, fail: (cause) => failures.push(cause) });
  };

  it("is ready once its stream and consumers are there", async () => {
    const { checks } = await open(seedFile(folder, "payment"));
    expect(checks.nats?.()).toBe(true);
    expect(checks.topology?.()).toBe(false);
    await applyTopology({ servers: server.url, nkeyFile: seedFile(folder, "operator") });
    await until("the topology to be seen", () => checks.topology?.());
  });

  it("waits for the registry's data, registers what it stores with its own credential, and stores nothing before", async () => {
    const { checks, ledger, gate } = await open(seedFile(folder, "payment"));
    const id = "o1";
    const storing = ledger.execute({
      keys: [key(payment, id)],
      trace: newTrace(),
      decide: () => ({ messages: [message(payment, id, { orderId: id })], result: "stored" }),
    });
    expect(checks.schemas?.()).toBe(false);
    expect(gate.dataSchema(payment)).toBeUndefined();
    await applyTopology({ servers: server.url, nkeyFile: seedFile(folder, "operator") });
    expect(await storing).toBe("stored");
    expect(checks.schemas?.()).toBe(true);
    const { jsm } = await server.connect();
    const stored = await jsm.streams.getMessage("PAYMENT", { last_by_subj: "payment.payment.o1" });
    expect(stored?.header.get("ce-dataschema")).toBe(gate.dataSchema(payment));
    expect(failures).toEqual([]);
  });

  describe("with a ledger that ends in half a commit", () => {
    const storePayment = (ledger: Ledger, id: string) =>
      ledger.execute({
        keys: [key(payment, id)],
        trace: newTrace(),
        decide: () => ({
          messages: [message(payment, id, { orderId: id }), message(paymentVoided, id, { orderId: id })],
          result: id,
        }),
      });
    /** As a power cut leaves it, where the server has lost its own copy of the batch. */
    const tear = async () => {
      const { jsm } = await server.connect();
      const last = await jsm.streams.getMessage("PAYMENT", { last_by_subj: "payment.voided.>" });
      await jsm.streams.deleteMessage("PAYMENT", last?.seq ?? 0);
    };
    beforeEach(async () => {
      await applyTopology({ servers: server.url, nkeyFile: seedFile(folder, "operator") });
      const { ledger } = await open(seedFile(folder, "payment"));
      await storePayment(ledger, "o1");
    });

    it("is not ready, stores nothing, and goes on once that is removed", async () => {
      await tear();
      const { ledger, checks, connection } = await open(seedFile(folder, "payment"));
      const storing = storePayment(ledger, "o2");
      await until("all else to be ready", () => checks.schemas?.() && checks.topology?.());
      expect(checks.ledger?.()).toBe(false);
      const operator = await server.connect();
      const { state } = await operator.jsm.streams.info("PAYMENT");
      expect(state.messages).toBe(1);
      await operator.jsm.streams.deleteMessage("PAYMENT", state.first_seq);
      expect(await storing).toBe("o2");
      expect(checks.ledger?.()).toBe(true);
      expect(connection.isClosed()).toBe(false);
    });

    it("stops if that has happened while the server was away", async () => {
      await tear();
      await server.restart();
      await until("the service to give up", () => failures.length > 0);
      expect(failures[0]?.message).toBe(
        "Cannot go on: half of a commit is stored in PAYMENT: message 1 is there, and the rest was lost with the server; " +
          "run: npm run ops -- ledgers repair PAYMENT",
      );
    });
  });

  it("ends when its schemas are refused", async () => {
    const operator = { servers: server.url, nkeyFile: seedFile(folder, "operator") };
    await applyTopology(operator);
    const { connection } = await server.connect();
    await using store = new SchemaStore(connection, { source: "/test", log: silent });
    const [version] = await Promise.all([
      store.register("payment.payment", await schemaOf("int64 order_id = 1;"), {
        by: "test",
        now: new Date(),
      }),
    ]);
    expect(version).toMatchObject({ kind: "registered", version: 1 });
    const service = await open(seedFile(folder, "payment"));
    await serveHttp(service, { port: 0, portVariable: "PAYMENT_PORT" });
    await until("the refusal", () => failures.length > 0);
    // Whoever reads that takes the service for one that works.
    expect(said).not.toContain("listening");
    expect(failures[0]).toBeInstanceOf(StartError);
    expect(failures[0]?.message).toMatch(
      /^Cannot start payment: .*\n {2}payment\.payment: BACKWARD_TRANSITIVE, /,
    );
  });

  it("refuses to start without a credential that the server knows, and says so", async () => {
    const missing = join(folder, "none.nk");
    await expect(open(missing)).rejects.toThrow(
      new StartError(
        `Cannot start payment: no connection to NATS (Cannot read a NATS credential from ${missing}: ENOENT)`,
      ),
    );
    const elsewhere = join(folder, "elsewhere");
    writeCredentials(elsewhere);
    await expect(open(seedFile(elsewhere, "payment"))).rejects.toThrow(
      "Cannot start payment: no connection to NATS (Authorization Violation)",
    );
  });

  it("stops the process when its credential is taken away, so that it is started again with the next one", async () => {
    await open(seedFile(folder, "payment"));
    await rm(seedFile(folder, "payment"));
    writeCredentials(folder, { services: ["order"] });
    server.signal("SIGHUP");
    await until("the service to give up", () => failures.length > 0);
    expect(failures[0]?.message).toMatch(/^Cannot go on: NATS closed the connection of payment/);
  });

  it("goes on with a new seed in the file when its credential is replaced", async () => {
    const { connection } = await open(seedFile(folder, "payment"));
    await rm(seedFile(folder, "payment"));
    writeCredentials(folder);
    await server.restart();
    // The server that is back knows the new key only. The first answers may still be lost with the old connection.
    await until("the server to answer", async () => {
      return connection.flush().then(
        () => true,
        () => connection.isClosed() && Promise.reject(new Error("the connection is closed for good")),
      );
    });
    expect(connection.isClosed()).toBe(false);
    expect(failures).toEqual([]);
  });
});
