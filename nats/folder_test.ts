import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeFolder } from "./folder.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "folder-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("makeFolder()", () => {
  it("makes what is missing above, and leaves alone what is there", () => {
    const deep = join(folder, "a", "b");
    makeFolder(deep, { mode: 0o700 });
    writeFileSync(join(deep, "file"), "kept");
    makeFolder(deep);
    expect(existsSync(join(deep, "file"))).toBe(true);
    expect(statSync(deep).mode & 0o777).toBe(0o700);
  });

  it("refuses a name that is a file's", () => {
    writeFileSync(join(folder, "file"), "");
    expect(() => makeFolder(join(folder, "file"))).toThrow("EEXIST");
    expect(() => makeFolder(join(folder, "file", "below"))).toThrow("ENOTDIR");
  });

  it.runIf(existsSync("/proc/self"))("ends where no folder can be made", () => {
    expect(() => makeFolder("/proc/x/y")).toThrow("ENOENT");
  });
});
