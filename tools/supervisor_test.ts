import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, errors } from "@nats-io/transport-node";
import { expect, test, vi } from "vitest";
import { accessOptions, findShop, seedFile } from "../nats/mod.ts";
import { nodeArguments, type Service } from "../services/mod.ts";
import { mountSmallDisk } from "../test/support/small_disk.ts";
import { type ShopOptions, startShop, startWholeShop } from "./supervisor.ts";
import { isAlive, scratchFolder, until } from "./testdata/scratch.ts";
import { root, services } from "./testdata/services.ts";

// Processes start slowly where all cores are busy.
vi.setConfig({ testTimeout: 30_000 });

const names = ["nats-server", "alpha", "beta"];

function optionsFor(dataDir: string, lines: string[] = []): ShopOptions {
  return {
    dataDir,
    root,
    services,
    ports: "free",
    prepare: async () => undefined,
    logs: { file: join(dataDir, "services.log") },
    report: (line) => lines.push(line),
    environment: { PATH: process.env.PATH, FROM_OUTSIDE: "yes" },
  };
}

test("startShop() prepares nats-server before it starts services, and tells them what they need", async () => {
  using folder = scratchFolder();
  const seen: string[] = [];
  await using shop = await startShop({
    ...optionsFor(folder.path),
    prepare: async (operator) => {
      const connection = await connect(accessOptions(operator));
      seen.push(connection.info?.version ?? "", `${connection.info?.jetstream}`);
      await connection.close();
    },
  });
  expect(seen).toEqual([expect.stringMatching(/^\d+\.\d+/), "true"]);
  const env = await (await fetch(`${shop.url("alpha")}/env`)).json();
  expect(env).toMatchObject({
    NATS_URL: shop.natsUrl,
    HOST: "127.0.0.1",
    OPERATOR_TOKEN: "dev",
    DATA_DIR: shop.dataDir,
    SANDBOX: "true",
    ALPHA_PORT: new URL(shop.url("alpha")).port,
    BETA_PORT: new URL(shop.url("beta")).port,
    FROM_OUTSIDE: "yes",
  });
  const limits = (await (await fetch(`${shop.url("nats-server")}/jsz`)).json()) as { config: object };
  // Acknowledged means on the disk.
  expect(limits.config).toMatchObject({ sync_always: true, max_storage: 10 * 2 ** 30 });
  expect(() => shop.url("gamma")).toThrow('There is no process "gamma"');
});

test("a service has a credential of its own and can read no other; the server lets nobody in without one", async () => {
  using folder = scratchFolder();
  await using shop = await startShop(optionsFor(folder.path));
  const read = async (file: string) => {
    const answer = await fetch(`${shop.url("alpha")}/read?file=${encodeURIComponent(file)}`);
    return answer.text();
  };
  const env = (await (await fetch(`${shop.url("alpha")}/env`)).json()) as Record<string, string>;
  const own = env.NATS_NKEY_FILE ?? "";
  expect(own).toBe(seedFile(join(shop.dataDir, "credentials"), "alpha"));
  expect(await read(own)).toMatch(/^SU/);
  for (const name of ["beta", "order", "operator"]) {
    const other = seedFile(join(shop.dataDir, "credentials"), name);
    expect(readFileSync(other, "utf8")).toMatch(/^SU/);
    expect(await read(other)).toBe("ERR_ACCESS_DENIED");
  }
  await expect(connect({ servers: shop.natsUrl })).rejects.toThrow("Authorization Violation");
  // Whoever the topology does not know gets in, and may do next to nothing.
  const alpha = await connect(accessOptions({ servers: shop.natsUrl, nkeyFile: own }));
  await expect(alpha.request("order.created.o1")).rejects.toThrow(/Permissions Violation/i);
  await alpha.close();
});

test("nodeArguments() keeps a service away from DATA_DIR where that is in the project's folder", () => {
  const [service] = services as [Service];
  const dataDir = join(root, ".data");
  const reads = nodeArguments(service, { root, dataDir, reads: ["/own.nk"] })
    .filter((argument) => argument.startsWith("--allow-fs-read="))
    .map((argument) => argument.slice("--allow-fs-read=".length));
  const other = join(dataDir, "credentials", "beta.nk");
  expect(reads.filter((path) => other.startsWith(path))).toEqual([]);
  expect(reads).toContain("/own.nk");
});

test("a process that is killed is started again, nats-server too, and a line says so", async () => {
  using folder = scratchFolder();
  const lines: string[] = [];
  await using shop = await startShop(optionsFor(folder.path, lines));
  for (const name of ["alpha", "nats-server"]) {
    const before = shop.pid(name);
    await shop.kill(name);
    await shop.ready(name);
    expect(shop.pid(name)).not.toBe(before);
    expect(lines.at(-1)).toMatch(
      new RegExp(`^${name} died \\(SIGKILL\\); starting it again in \\d\\.\\d s$`),
    );
  }
  expect(lines.filter((line) => line.startsWith("beta"))).toEqual([]);
});

test("a nats-server that has failed to write for want of room is started again once there is some", async () => {
  using folder = scratchFolder();
  using disk = mountSmallDisk(join(folder.path, "nats"), { bytes: 64 * 2 ** 20 });
  const lines: string[] = [];
  await using shop = await startShop({
    ...optionsFor(folder.path, lines),
    prepare: async (operator) => {
      const connection = await connect(accessOptions(operator));
      const jsm = await jetstreamManager(connection);
      await jsm.streams.add({ name: "NOTES", subjects: ["notes"] });
      await connection.close();
    },
  });
  const write = async () => {
    const connection = await connect(accessOptions(shop.operator));
    try {
      await jetstream(connection).publish("notes", new Uint8Array(5_000), { timeout: 500 });
      return true;
    } catch (cause) {
      if (!(cause instanceof errors.TimeoutError)) throw cause;
      return false;
    } finally {
      await connection.close();
    }
  };
  const pid = shop.pid("nats-server");
  expect(await write()).toBe(true);
  disk.fill();
  expect(await write()).toBe(false);
  await until(() => lines.some((line) => line.includes("it is restarted once there is room")));
  expect(shop.pid("nats-server")).toBe(pid);
  disk.clear();
  expect(await write()).toBe(false);
  await until(() => lines.includes("nats-server writes again"));
  expect(shop.pid("nats-server")).not.toBe(pid);
  expect(await write()).toBe(true);
});

test("stop() leaves a process down until start(), and restart() does both", async () => {
  using folder = scratchFolder();
  const lines: string[] = [];
  await using shop = await startShop(optionsFor(folder.path, lines));
  await shop.stop("alpha");
  expect(shop.pid("alpha")).toBeUndefined();
  await expect(fetch(shop.url("alpha"))).rejects.toThrow();
  await shop.start("alpha");
  const before = shop.pid("alpha");
  await shop.restart("alpha");
  expect(shop.pid("alpha")).not.toBe(before);
  await shop.ready("alpha");
  expect(lines.filter((line) => line.includes("died"))).toEqual([]);
});

test("shutdown() leaves no process, and the folder can be used again at once", async () => {
  using folder = scratchFolder();
  for (let run = 0; run < 2; run++) {
    const shop = await startShop(optionsFor(folder.path));
    const pids = names.map((name) => shop.pid(name));
    expect(pids.map(isAlive)).toEqual([true, true, true]);
    await shop.shutdown();
    expect(pids.map(isAlive)).toEqual([false, false, false]);
  }
});

test("shutdown() kills a service that does not drain in time", async () => {
  using folder = scratchFolder();
  const lines: string[] = [];
  const options = optionsFor(folder.path, lines);
  const shop = await startShop({ ...options, environment: { FIXTURE_IGNORES_SIGTERM: "yes" } });
  const pids = names.map((name) => shop.pid(name));
  await shop.shutdown({ graceMs: 200 });
  expect(pids.map(isAlive)).toEqual([false, false, false]);
  expect(lines).toContain("alpha did not end within 0.2 s; killing it");
});

test("close() kills all at once", async () => {
  using folder = scratchFolder();
  const shop = await startShop(optionsFor(folder.path));
  const pids = names.map((name) => shop.pid(name));
  shop.close();
  await until(() => !pids.some(isAlive));
});

const [alpha, beta] = services as [Service, Service];
const withOnlooker = [alpha, { ...beta, looksOn: true }];
/** The environment of beta alone. */
const ofBeta = (environment: Record<string, string>) => ({
  environmentOf: (name: string) => (name === "beta" ? environment : {}),
});

test("startShop() waits for no service that only looks on, and tells when that is ready", async () => {
  using folder = scratchFolder();
  const lines: string[] = [];
  const options = { ...optionsFor(folder.path, lines), services: withOnlooker };
  await using shop = await startShop({ ...options, ...ofBeta({ FIXTURE_FAILING_CHECK: "database" }) });
  expect(isAlive(shop.pid("beta"))).toBe(true);
  expect(lines).not.toContain("beta is ready");
  await shop.shutdown();
  await using whole = await startWholeShop(options);
  expect(lines).toContain("beta is ready");
  await whole.ready("beta");
});

test("startShop() opens although what only looks on dies at once, and goes on starting that", async () => {
  using folder = scratchFolder();
  const lines: string[] = [];
  const options = { ...optionsFor(folder.path, lines), services: withOnlooker };
  await using shop = await startShop({ ...options, ...ofBeta({ FIXTURE_FAILS: "yes" }) });
  const died = /^beta died \(exit code 3\); starting it again in \d\.\d s$/;
  await until(() => lines.filter((line) => died.test(line)).length >= 2);
  expect(isAlive(shop.pid("alpha"))).toBe(true);
});

test("startShop() goes on waiting for what orders need, and says what that waits for", async () => {
  using folder = scratchFolder();
  const lines: string[] = [];
  const abort = new AbortController();
  const starting = startShop({
    ...optionsFor(folder.path, lines),
    ...ofBeta({ FIXTURE_FAILING_CHECK: "topology" }),
    signal: abort.signal,
  });
  starting.catch(() => undefined);
  await until(() => lines.includes("still waiting for beta (topology)"));
  abort.abort(new Error("seen enough"));
  await expect(starting).rejects.toThrow("seen enough");
});

test("startShop() gives up on a process after readyWithinMs, if that is set, and says what it waited for", async () => {
  using folder = scratchFolder();
  const options = { ...optionsFor(folder.path), ...ofBeta({ FIXTURE_FAILING_CHECK: "topology" }) };
  await expect(startShop({ ...options, readyWithinMs: 3_000 })).rejects.toThrow(
    "Cannot start beta: it is not ready after 3 s, and waits for topology",
  );
});

test("startShop() opens with a service that an operator has set to be down", async () => {
  using folder = scratchFolder();
  const options = optionsFor(folder.path);
  await using shop = await startShop({ ...options, ...ofBeta({ FIXTURE_FAILING_CHECK: "faults" }) });
  await shop.ready("beta");
});

test("startShop() lets others find the shop while it runs, and the operator only", async () => {
  using folder = scratchFolder();
  const file = join(folder.path, "running.json");
  const shop = await startShop({ ...optionsFor(folder.path), operatorToken: "secret" });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const found = findShop({ DATA_DIR: folder.path });
  expect(found).toMatchObject({
    servers: shop.natsUrl,
    nkeyFile: shop.operator.nkeyFile,
    running: { pid: process.pid, operatorToken: "secret", urls: { alpha: shop.url("alpha") } },
  });
  expect(await (await fetch(`${shop.url("alpha")}/read?file=${encodeURIComponent(file)}`)).text()).toBe(
    "ERR_ACCESS_DENIED",
  );
  await shop.shutdown();
  expect(findShop({ DATA_DIR: folder.path })).toMatchObject({
    servers: "nats://127.0.0.1:4222",
    running: undefined,
  });
});

test("startShop() leaves nothing running when a service fails to start", async () => {
  using folder = scratchFolder();
  const options = { ...optionsFor(folder.path), environment: { FIXTURE_FAILS: "yes" } };
  await expect(startShop(options)).rejects.toThrow(
    /^Cannot start (alpha|beta): it ended before it was ready \(exit code 3\)$/,
  );
  const nats = Number(readFileSync(join(folder.path, "nats-server.pid"), "utf8"));
  expect(isAlive(nats)).toBe(false);
});

test("startShop() shows the end of nats-server's log when that does not start", async () => {
  using folder = scratchFolder();
  await expect(startShop({ ...optionsFor(folder.path), maxFileStore: "lots" })).rejects.toThrow(
    /^Cannot start nats-server: it ended before it was ready \(exit code 1\); the end of .*\n.*max_file/i,
  );
});

test("startShop() stops what it has started when it is aborted", async () => {
  using folder = scratchFolder();
  const abort = new AbortController();
  const prepare = async () => {
    abort.abort(new Error("changed my mind"));
    await new Promise(() => undefined);
  };
  const options = { ...optionsFor(folder.path), prepare, signal: abort.signal };
  await expect(startShop(options)).rejects.toThrow("changed my mind");
  const nats = Number(readFileSync(join(folder.path, "nats-server.pid"), "utf8"));
  expect(isAlive(nats)).toBe(false);
});
