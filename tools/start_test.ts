import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { describeConfig } from "./config.ts";
import { projectFolder } from "./nats_server.mjs";

// Processes start slowly where all cores are busy.
vi.setConfig({ testTimeout: 30_000 });

function start(args: readonly string[], env: Record<string, string> = {}) {
  const run = spawnSync(process.execPath, [join(projectFolder, "tools", "start.ts"), ...args], {
    encoding: "utf8",
    env: { ...process.env, ...env },
    timeout: 20_000,
  });
  return { code: run.status, out: run.stdout, errors: run.stderr };
}

test("start --help documents every variable", () => {
  const run = start(["--help"]);
  expect(run).toMatchObject({ code: 0, errors: "" });
  expect(run.out).toContain(describeConfig());
});

test("start refuses an argument that it does not know", () => {
  expect(start(["--port"])).toMatchObject({ code: 2, out: "" });
});

test.each([
  [{ ORDER_PORT: "http" }, 'Cannot start: ORDER_PORT is "http", not a port (1 to 65535)\n'],
  [
    { NATS_SERVER: "/nonexistent/nats-server" },
    "Cannot use NATS_SERVER: /nonexistent/nats-server is missing or is not an executable file\n",
  ],
  [
    { PORT_BASE: "80" },
    /^Cannot start: PORT_BASE is "80", not the port of the order service.* NATS_PORT would be -3778/,
  ],
  [{ DATA_DIR: "/proc/x" }, /^Cannot use \/proc\/x: .*; set DATA_DIR to a folder that can be written\n$/],
  [{ DATA_DIR: "/dev/null/data" }, /^Cannot use \/dev\/null\/data: .*\n$/],
])("start says in one line what is wrong with %j", (env, line) => {
  const run = start([], env);
  expect(run).toMatchObject({ code: 1, out: "" });
  expect(run.errors).toMatch(line);
});
