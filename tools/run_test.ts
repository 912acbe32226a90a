import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { projectFolder } from "./nats_server.mjs";
import { freePorts, loopback } from "./ports.ts";
import { isAlive, scratchFolder, until } from "./testdata/scratch.ts";

// Processes start slowly where all cores are busy.
vi.setConfig({ testTimeout: 30_000 });

const variables = ["NATS_PORT", "NATS_MONITOR_PORT", "ALPHA_PORT", "BETA_PORT"] as const;

async function choosePorts() {
  const ports = await freePorts(variables.length);
  return Object.fromEntries(variables.map((variable, i) => [variable, ports[i] as number]));
}

/** A shop in the foreground of a process of its own, as under `npm start`. */
function drive(dataDir: string, ports: Record<string, number>, env: Record<string, string> = {}) {
  const args = [join(projectFolder, "tools", "testdata", "driver.ts"), dataDir, JSON.stringify(ports)];
  const child: ChildProcess = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout?.on("data", (text) => {
    out += text;
  });
  child.stderr?.on("data", (text) => {
    err += text;
  });
  const ended = new Promise<number | string>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal ?? ""));
  });
  return {
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    ended,
    errors: () => err,
    /** Process ids of alpha, beta and nats-server, once all are ready. */
    async ready(): Promise<[number, number, number]> {
      await until(() => out.includes("]") || child.exitCode !== null);
      if (!out.includes("]")) throw new Error(`The driver ended: ${err}`);
      return JSON.parse(out);
    },
    [Symbol.dispose]: () => child.kill("SIGTERM"),
  };
}

test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
  "%s drains, exits with 0 and leaves no process",
  async (signal) => {
    using folder = scratchFolder();
    using driver = drive(folder.path, await choosePorts());
    const pids = await driver.ready();
    driver.kill(signal);
    // npm passes on what the terminal has sent already.
    driver.kill(signal);
    expect(await driver.ended).toBe(0);
    expect(pids.map(isAlive)).toEqual([false, false, false]);
    expect(driver.errors()).toMatch(/\nstopping: .*\nstopped\n$/);
  },
);

test("a second Ctrl-C kills all at once and exits with 130", async () => {
  using folder = scratchFolder();
  using driver = drive(folder.path, await choosePorts(), { FIXTURE_IGNORES_SIGTERM: "yes" });
  const pids = await driver.ready();
  driver.kill("SIGINT");
  const again = setInterval(() => driver.kill("SIGINT"), 100);
  expect(await driver.ended).toBe(130);
  clearInterval(again);
  await until(() => !pids.some(isAlive));
});

test("a second Ctrl-C kills all at once while the shop starts, too", async () => {
  using folder = scratchFolder();
  const environment = { FIXTURE_FAILING_CHECK: "topology", FIXTURE_IGNORES_SIGTERM: "yes" };
  using driver = drive(folder.path, await choosePorts(), environment);
  await until(() => driver.errors().includes("still waiting for alpha (topology)"));
  const nats = Number(readFileSync(join(folder.path, "nats-server.pid"), "utf8"));
  driver.kill("SIGINT");
  const again = setInterval(() => driver.kill("SIGINT"), 100);
  expect(await driver.ended).toBe(130);
  clearInterval(again);
  await until(() => !isAlive(nats));
});

test("a port that is taken is one clear line and exit code 1", async () => {
  using folder = scratchFolder();
  const ports = await choosePorts();
  await using server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(ports.BETA_PORT, loopback, resolve);
  });
  using driver = drive(folder.path, ports);
  expect(await driver.ended).toBe(1);
  expect(driver.errors()).toBe(
    `Cannot start beta: port ${ports.BETA_PORT} is taken; free it or set BETA_PORT\n`,
  );
});

test("a folder in use is one clear line and exit code 1", async () => {
  using folder = scratchFolder();
  using first = drive(folder.path, await choosePorts());
  await first.ready();
  using second = drive(folder.path, await choosePorts());
  expect(await second.ended).toBe(1);
  expect(second.errors()).toMatch(
    /^Cannot use .*: process \d+ runs a shop on it; stop that one or set DATA_DIR\n$/,
  );
  first.kill("SIGINT");
  expect(await first.ended).toBe(0);
});

test("after a kill -9 services end by themselves, and the next run stops nats-server and goes on", async () => {
  using folder = scratchFolder();
  const ports = await choosePorts();
  using first = drive(folder.path, ports);
  const [alpha, beta, nats] = await first.ready();
  first.kill("SIGKILL");
  await first.ended;
  using second = drive(folder.path, ports);
  await second.ready();
  expect([alpha, beta, nats].map(isAlive)).toEqual([false, false, false]);
  expect(second.errors()).toContain(
    `stopping the nats-server (process ${nats}) that the last run left behind\n`,
  );
  second.kill("SIGINT");
  expect(await second.ended).toBe(0);
});
