import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { installPackages } from "./install_packages.ts";
import { projectFolder } from "./nats_server.mjs";
import { StartError } from "./start_error.ts";

/** What npm installs without a network. */
const dependencies = { own: "file:own" };

describe("installPackages()", () => {
  let folder = "";
  let said: string[] = [];

  beforeEach(async () => {
    said = [];
    vi.spyOn(process.stderr, "write").mockImplementation((text) => said.push(String(text)) > 0);
    await mkdir(join(projectFolder, ".cache"), { recursive: true });
    folder = await mkdtemp(join(projectFolder, ".cache", "packages-test-"));
    await mkdir(join(folder, "own"));
    await writeFile(join(folder, "own", "package.json"), '{"name":"own","version":"1.0.0"}');
    await writeFile(join(folder, "own", "index.js"), "export default 1;");
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    await rm(folder, { recursive: true, force: true });
    await rm(join(projectFolder, ".cache", `install-.cache-${basename(folder)}.lock`), { force: true });
  });

  async function write(lock: { own: boolean }): Promise<void> {
    const own = { own: { version: "1.0.0" }, "node_modules/own": { resolved: "own", link: true } };
    const packages = { "": { name: "x", dependencies }, ...(lock.own && own) };
    const lockFile = { name: "x", lockfileVersion: 3, requires: true, packages };
    await writeFile(join(folder, "package.json"), JSON.stringify({ name: "x", private: true, dependencies }));
    await writeFile(join(folder, "package-lock.json"), JSON.stringify(lockFile));
  }

  it("installs once, also for two who want it at the same time", async () => {
    await write({ own: true });
    await Promise.all([installPackages(folder), installPackages(folder)]);
    await installPackages(folder);
    const name = basename(folder);
    const command = `npm ci --ignore-scripts --prefix .cache/${name}`;
    expect(said).toEqual([`Installing the packages of ${name}, once: ${command}\n`]);
    expect(await import(join(folder, "node_modules", "own", "index.js"))).toMatchObject({ default: 1 });
  });

  it("says what to run if the lock does not fit", async () => {
    await write({ own: false });
    const failed = installPackages(folder);
    await expect(failed).rejects.toThrow(StartError);
    await expect(failed).rejects.toThrow(`run "npm ci --ignore-scripts --prefix .cache/${basename(folder)}"`);
  });
});
