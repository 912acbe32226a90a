import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { claimDataDir, stopLeftoverNatsServer } from "./data_dir.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "data-dir-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("claimDataDir() lets one process have a folder", () => {
  const claim = claimDataDir(folder);
  expect(claim.wasLeftBehind).toBe(false);
  expect(() => claimDataDir(folder)).toThrow(
    `Cannot use ${claim.path}: process ${process.pid} runs a shop on it; stop that one or set DATA_DIR`,
  );
  claim.release();
  claimDataDir(folder).release();
});

test.each([
  ["of a process that is gone", JSON.stringify({ pid: 2 ** 22 + 1, startedAt: "1" })],
  ["whose process id is another's by now", JSON.stringify({ pid: process.pid, startedAt: "1" })],
  ["that is no lock", "half a lo"],
])("claimDataDir() takes over a lock %s", (_, text) => {
  writeFileSync(join(folder, "supervisor.lock"), text);
  const claim = claimDataDir(folder);
  expect(claim.wasLeftBehind).toBe(true);
  expect(() => claimDataDir(folder)).toThrow("runs a shop on it");
  claim.release();
});

test("claimDataDir() says which folder cannot be written", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect(() => claimDataDir(join(file, "data"))).toThrow(`Cannot use ${join(file, "data")}: `);
});

test("stopLeftoverNatsServer() leaves a process alone that is no nats-server of this folder", async () => {
  const pidFile = join(folder, "nats-server.pid");
  const lines: string[] = [];
  for (const pid of [`${process.pid}`, `${2 ** 22 + 1}`, ""]) {
    writeFileSync(pidFile, pid);
    await stopLeftoverNatsServer(pidFile, { report: (line) => lines.push(line) });
  }
  expect(lines).toEqual([]);
});
