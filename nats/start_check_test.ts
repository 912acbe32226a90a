import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import type { Log } from "./connection.ts";
import { checkServers, type Finding, startCheck } from "./start_check.ts";
import { makeAnew, testTopology as topology } from "./testing.ts";

/** A log that a test can read. */
function memoryLog(): Log & { warnings: string[]; errors: string[] } {
  const warnings: string[] = [];
  const errors: string[] = [];
  return {
    warnings,
    errors,
    info: () => undefined,
    warn: (_, text) => void warnings.push(text),
    error: (_, text) => void errors.push(text),
  };
}

describe("checkServers()", () => {
  let server: NatsServer;
  let client: Client;
  beforeAll(async () => {
    server = await startNats();
    client = await server.connect();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(() => makeAnew(client.jsm, server.url, topology));

  const check = (
    options: { service?: string; replicas?: number; monitorUrl?: string; everyConsumer?: boolean } = {},
  ) => checkServers(client.connection, client.jsm, { service: "test", topology, ...options });

  it("finds nothing where the topology was applied to a server of the project's own", async () => {
    expect(await check({ monitorUrl: server.monitorUrl })).toEqual([]);
  });

  it("finds a flag that is off, and a consumer that gives up", async () => {
    await client.jsm.streams.update("TEST", { allow_direct: false });
    await client.jsm.consumers.update("INBOX", "test", { max_deliver: 3 });
    expect(await check()).toEqual([
      { kind: "weaker", what: "stream TEST allow_direct", wanted: "true", is: "unset" },
      { kind: "weaker", what: "consumer INBOX/test max_deliver", wanted: "-1", is: "3" },
    ]);
  });

  it("finds a consumer that is paused", async () => {
    await client.jsm.consumers.pause("INBOX", "test", new Date("2099-01-01T00:00:00Z"));
    const is = expect.stringMatching(/^until 2099-01-01T00:00:00/);
    expect(await check()).toEqual([
      { kind: "weaker", what: "consumer INBOX/test pause", wanted: "unset", is },
    ]);
  });

  it("compares the consumers of all services where it is asked to", async () => {
    await client.jsm.consumers.update("INBOX", "test", { max_deliver: 3, filter_subjects: ["inbox.add.>"] });
    expect(await check({ service: "watcher" })).toEqual([]);
    const found = await check({ service: "watcher", everyConsumer: true });
    expect(found.map(({ what }) => what).sort()).toEqual([
      "consumer INBOX/test filter_subjects",
      "consumer INBOX/test max_deliver",
    ]);
    await client.jsm.consumers.delete("INBOX", "test");
    expect(await check({ service: "watcher", everyConsumer: true })).toMatchObject([
      { kind: "missing", what: "consumer INBOX/test" },
    ]);
  });

  it("finds one copy where three are wanted, and does not mind a description or more copies", async () => {
    await client.jsm.streams.update("TEST", { description: "changed" });
    expect(await check({ replicas: 3 })).toEqual([
      { kind: "weaker", what: "stream TEST num_replicas", wanted: "3", is: "1" },
    ]);
    expect(await check({ replicas: 0 })).toEqual([]);
  });

  it("finds a stream and a consumer that are missing", async () => {
    await client.jsm.streams.delete("TEST");
    await client.jsm.consumers.delete("INBOX", "test");
    expect(await check()).toMatchObject([
      { kind: "missing", what: "stream TEST" },
      { kind: "missing", what: "consumer INBOX/test" },
    ]);
  });

  it("looks at streams whose settings the service has a view of", async () => {
    await client.jsm.streams.update("TEST", { allow_direct: false });
    const views = [{ service: "watcher", stream: "TEST", info: true }];
    const options = { service: "watcher", topology: { ...topology, views } };
    expect(await checkServers(client.connection, client.jsm, options)).toHaveLength(1);
  });

  it("finds a server that is too old", async () => {
    const find = (version: string) => {
      const connection = Object.create(client.connection, { info: { value: { version } } });
      return checkServers(connection, client.jsm, { service: "test", topology });
    };
    for (const version of ["2.14.9", "1.99.0", "2.9.20-RC.1"]) {
      expect(await find(version)).toEqual([
        { kind: "weaker", what: "server version", wanted: ">= 2.15.0", is: version },
      ]);
    }
    for (const version of ["2.15.0", "2.15.1-RC.2", "2.16.0", "3.0.0"])
      expect(await find(version)).toEqual([]);
  });

  it("says that it cannot see the sync setting where the monitoring does not answer", async () => {
    expect(await check({ monitorUrl: "http://127.0.0.1:1" })).toMatchObject([
      { kind: "unseen", what: "sync_interval of http://127.0.0.1:1" },
    ]);
  });

  it("finds a server that acknowledges before it syncs", async () => {
    await using weak = await startNats({ configure: (text) => text.replace("sync_interval: always", "") });
    await applyTopology({ servers: weak.url, topology });
    const { connection, jsm } = await weak.connect();
    const monitorUrl = `${server.monitorUrl}, ${weak.monitorUrl}`;
    expect(await checkServers(connection, jsm, { service: "test", topology, monitorUrl })).toEqual([
      { kind: "weaker", what: `sync_interval of ${weak.monitorUrl}`, wanted: "always", is: "every 120 s" },
    ]);
  });
});

describe("startCheck()", () => {
  it("says what is missing until somebody has applied the topology, then what is weaker, and ends", async () => {
    await using server = await startNats();
    const { connection, jsm } = await server.connect();
    const log = memoryLog();
    const { signal } = new AbortController();
    const kinds: string[][] = [];
    const onFindings = (findings: readonly Finding[]) => void kinds.push(findings.map(({ kind }) => kind));
    const options = { service: "test", topology, replicas: 3, log, signal, onFindings };
    const checked = startCheck(connection, jsm, options);
    await until("the first check", () => log.errors.length >= 2);
    expect(log.errors.slice(0, 2)).toEqual([
      "stream TEST is missing: apply the topology",
      "consumer INBOX/test is missing: apply the topology",
    ]);
    await applyTopology({ servers: server.url, topology });
    await checked;
    expect(log.warnings).toEqual([
      "weaker than the topology asks: stream TEST num_replicas should be 3 and is 1",
    ]);
    expect([kinds[0], kinds.at(-1)]).toEqual([["missing", "missing"], ["weaker"]]);
  });

  it("ends when it is told to", async () => {
    await using server = await startNats();
    const { connection, jsm } = await server.connect();
    const log = memoryLog();
    const stopping = new AbortController();
    const { signal } = stopping;
    const checked = startCheck(connection, jsm, { service: "test", topology, log, signal });
    await until("the first check", () => log.errors.length > 0);
    stopping.abort();
    await checked;
  });
});
