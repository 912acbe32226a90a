import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { startNats } from "../test/support/mod.ts";
import { readTopologyConfig } from "./config.ts";
import { topology } from "./topology.ts";

const program = fileURLToPath(new URL("main.ts", import.meta.url));

/** Runs the tool with nothing in its environment but `environment`. */
function run(
  args: string[],
  environment: Record<string, string>,
): Promise<{ code: number; out: string; error: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { env: environment }, (_, out, error) =>
      resolve({ code: child.exitCode ?? -1, out, error }),
    );
  });
}

describe("node nats/main.ts", () => {
  it("says what it would do, does it, and then finds that nothing differs", async () => {
    await using server = await startNats();
    const environment = { NATS_URL: server.url };
    const { streams, buckets = [], consumers } = topology;
    const count = streams.length + buckets.length + consumers.length;

    const dry = await run(["--dry-run"], environment);
    expect(dry).toMatchObject({ code: 0, error: "" });
    expect(dry.out.match(/^\+ /gm)).toHaveLength(count);
    expect(dry.out).toMatch(/Dry run: nothing was changed\n$/);

    const first = await run([], environment);
    expect(first).toMatchObject({ code: 0, error: "" });
    expect(first.out.match(/^\+ /gm)).toHaveLength(count);

    const { jsm } = await server.connect();
    await jsm.streams.add({ name: "THEIRS", subjects: ["theirs.>"] });
    expect(await run([], environment)).toEqual({
      code: 0,
      out: "note: stream THEIRS is not in the topology, left alone\nNothing differs\n",
      error: "",
    });
  });

  it("makes the credentials, applies the topology with the operator's, and nobody else can", async () => {
    const folder = await mkdtemp(join(tmpdir(), "topology-test-"));
    const credentials = join(folder, "credentials");
    const made = await run(["--credentials", credentials], {});
    expect(made).toEqual({
      code: 0,
      out: `Servers include ${credentials}/authorization.conf; the operator's seed is ${credentials}/operator.nk\n`,
      error: "",
    });
    const authorization = await readFile(join(credentials, "authorization.conf"), "utf8");
    await using server = await startNats({ configure: (text) => `${text}\n${authorization}` });
    const as = (environment: Record<string, string>) => run([], { NATS_URL: server.url, ...environment });
    const refused = { code: 1, error: expect.stringContaining("Authorization Violation") };
    expect(await as({ DATA_DIR: join(folder, "none") })).toMatchObject(refused);
    const service = await as({ NATS_NKEY_FILE: join(credentials, "order.nk") });
    expect(service).toMatchObject({ code: 1, error: expect.stringMatching(/permission/i) });
    // As `npm start` leaves it behind.
    expect(await as({ DATA_DIR: folder })).toMatchObject({ code: 0 });
    await rm(folder, { recursive: true });
  });

  it("ends with 1 and the reasons when it refuses, or when the server does", async () => {
    await using server = await startNats();
    const { jsm } = await server.connect();
    await jsm.streams.add({ name: "ORDER", subjects: ["order.>"], storage: "memory" });
    const refused = await run([], { NATS_URL: server.url });
    expect(refused).toMatchObject({ code: 1, out: "" });
    expect(refused.error).toMatch(
      /^Cannot apply the topology without losing data:\n {2}stream ORDER: storage/,
    );
    expect((await jsm.getAccountInfo()).streams).toBe(1);
    await jsm.streams.delete("ORDER");

    const alone = await run([], { NATS_URL: server.url, REPLICAS: "3" });
    expect(alone).toMatchObject({ code: 1, out: "" });
    expect(alone.error).toMatch(/^Cannot apply the topology: the server says: replicas > 1 .*\n$/);
  });

  it("ends with 1 and one line, without the password, when there is no server", async () => {
    for (const NATS_URL of [
      "nats://u:secret@127.0.0.1:1",
      "nats://u:secret@host.invalid",
      "nats://u:secret@ x",
    ]) {
      const { code, error } = await run([], { NATS_URL });
      expect(code).toBe(1);
      expect(error).toMatch(/^Cannot apply the topology: no connection to NATS \(.*\); NATS_URL says so\n$/);
      expect(error).not.toContain("secret");
    }
  });

  it("explains itself, and ends with 2 when it is called in a wrong way", async () => {
    expect(await run(["--help"], {})).toMatchObject({
      code: 0,
      out: expect.stringContaining("Usage:"),
      error: "",
    });
    expect(await run(["--wet-run"], {})).toMatchObject({
      code: 2,
      error: expect.stringContaining("Unknown option '--wet-run'"),
    });
    expect(await run([], { DATA_DIR: "/none" })).toEqual({
      code: 1,
      out: "",
      error: "Cannot apply the topology: set NATS_URL, or start the shop: none runs on /none\n",
    });
  });
});

describe("readTopologyConfig()", () => {
  it("takes one replica unless told otherwise", () => {
    expect(readTopologyConfig({ NATS_URL: "nats://a,nats://b" })).toMatchObject({
      servers: "nats://a,nats://b",
      replicas: 1,
    });
    expect(readTopologyConfig({ NATS_URL: "x", REPLICAS: "3" }).replicas).toBe(3);
    expect(readTopologyConfig({ NATS_URL: "x", REPLICAS: "" }).replicas).toBe(1);
  });

  it("names the variable that is at fault", () => {
    expect(() => readTopologyConfig({ NATS_URL: "", DATA_DIR: "/none" })).toThrow("set NATS_URL");
    for (const REPLICAS of ["0", "2", "-1", "1.5", "many", "31"]) {
      expect(() => readTopologyConfig({ NATS_URL: "x", REPLICAS })).toThrow("correct REPLICAS");
    }
  });
});
