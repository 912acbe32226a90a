import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findNatsServer, installAdvice, isNewEnough, lookForNatsServer } from "./nats_server.mjs";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "nats-server-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A stand-in that knows its version. */
function install(path: string, version: string): string {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  chmodSync(file, 0o755);
  return file;
}

const nowhere = { PATH: "/nonexistent" };

test("findNatsServer() prefers NATS_SERVER to PATH, and PATH to the cache", () => {
  const named = install("named", "2.17.0");
  const onPath = install("bin/nats-server", "2.16.0");
  const cached = install("cache/nats-server", "2.15.0");
  const env = { NATS_SERVER: named, PATH: dirname(onPath) };
  expect(findNatsServer({ env, cached })).toEqual({ path: named, version: "2.17.0" });
  expect(findNatsServer({ env: { PATH: env.PATH }, cached })).toEqual({ path: onPath, version: "2.16.0" });
  expect(findNatsServer({ env: nowhere, cached })).toEqual({ path: cached, version: "2.15.0" });
});

test("findNatsServer() refuses what NATS_SERVER names if it is missing, too old or something else", () => {
  const cached = install("cache/nats-server", "2.15.1");
  const find = (NATS_SERVER: string) => () => findNatsServer({ env: { NATS_SERVER }, cached });
  const old = install("old", "2.14.9");
  expect(find(join(folder, "none"))).toThrow(`Cannot use NATS_SERVER: ${join(folder, "none")} is missing`);
  expect(find(folder)).toThrow(`Cannot use NATS_SERVER: ${folder} is missing or is not an executable file`);
  expect(find(old)).toThrow(`Cannot use NATS_SERVER: ${old} is 2.14.9; 2.15.0 or newer is needed`);
  expect(find(process.execPath)).toThrow("is not a working nats-server");
});

test("lookForNatsServer() passes over an old one on PATH and says so", () => {
  const old = install("bin/nats-server", "2.10.7");
  const cached = install("cache/nats-server", "2.15.1");
  const found = lookForNatsServer({ env: { PATH: dirname(old) }, cached });
  expect(found.server).toEqual({ path: cached, version: "2.15.1" });
  expect(found.notes).toEqual([`${old} is 2.10.7, and 2.15.0 or newer is needed`]);
});

test("findNatsServer() says what to do where there is none", () => {
  expect(() => findNatsServer({ env: nowhere, cached: join(folder, "none") })).toThrow(
    "Cannot find nats-server >= 2.15.0: run `node tools/setup.mjs`",
  );
});

test("isNewEnough() compares numbers, not text", () => {
  expect(["2.9.30", "2.14.12", "1.99.0"].map(isNewEnough)).toEqual([false, false, false]);
  expect(["2.15.0", "2.15.10", "2.100.0", "3.0.0"].map(isNewEnough)).toEqual([true, true, true, true]);
});

test("installAdvice() has a line for each system", () => {
  for (const command of [
    "brew install nats-server",
    "dpkg -i",
    "dnf install",
    "pacman -S",
    "winget install",
  ]) {
    expect(installAdvice()).toContain(command);
  }
});
