import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, makeAuthority } from "../test/support/certificates.ts";
import { type NatsServer, startNats } from "../test/support/mod.ts";
import type { TlsFiles } from "./access.ts";
import { applyTopology } from "./apply.ts";
import { testTopology } from "./testing.ts";

const tlsConfiguration = fileURLToPath(new URL("tls.conf", import.meta.url));

describe("a server with nats/tls.conf", () => {
  let folder: string;
  let server: NatsServer;
  let mine: Certificate;
  let theirs: Certificate;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tls-test-"));
    const authority = await makeAuthority(join(folder, "ours"));
    const own = await authority.issue("server");
    mine = await authority.issue("client");
    theirs = await (await makeAuthority(join(folder, "theirs"))).issue("client");
    const tls = await readFile(tlsConfiguration, "utf8");
    server = await startNats({
      configure: (text) => `${text}\n${tls}`,
      environment: { NATS_TLS_CA: own.ca, NATS_TLS_CERT: own.cert, NATS_TLS_KEY: own.key },
      access: { tls: mine },
    });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  /** The outcome of a first connection; `connect()` itself would try for ever. */
  const apply = (tls?: TlsFiles) => applyTopology({ servers: server.url, topology: testTopology, tls });

  it("lets in who knows its authority and shows a certificate of it", async () => {
    await apply(mine);
    const { connection, js } = await server.connect();
    expect(connection.info).toMatchObject({ tls_required: true, tls_verify: true });
    expect((await js.publish("test.x", "over TLS")).stream).toBe("TEST");
  });

  it.each([
    ["has no certificate of its own", () => ({ ca: mine.ca })],
    ["shows one of another authority", () => ({ ...theirs, ca: mine.ca })],
    ["does not know the server's authority", () => ({ ...mine, ca: theirs.ca })],
    ["trusts the system's authorities only", () => undefined],
  ])("does not talk to a client that %s", async (_, tls) => {
    await expect(apply(tls())).rejects.toThrow("no connection to NATS");
  });
});

describe("a client that is given certificates", () => {
  it("does not talk to a server without encryption", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tls-test-"));
    await using server = await startNats();
    const tls = await (await makeAuthority(folder)).issue("client");
    await expect(applyTopology({ servers: server.url, tls })).rejects.toThrow("does not support 'tls'");
    await rm(folder, { recursive: true });
  });
});
