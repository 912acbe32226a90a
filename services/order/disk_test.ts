import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silent } from "../../test/support/mod.ts";
import { mountSmallDisk } from "../../test/support/small_disk.ts";
import { DiskWatch } from "./disk.ts";

describe("DiskWatch", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "disk-test-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is full beneath an eighth of a small disk, and no more when there is room", async () => {
    using disk = mountSmallDisk(folder, { bytes: 16 * 2 ** 20 });
    const watch = new DiskWatch(folder, { log: silent });
    await watch.look();
    expect([watch.full, watch.freeMiB]).toEqual([false, 16]);
    disk.fill();
    await watch.look();
    expect([watch.full, watch.freeMiB]).toEqual([true, 0]);
    disk.clear();
    await watch.look();
    expect([watch.full, watch.freeMiB]).toEqual([false, 16]);
  });

  it("says once that it cannot see the disk, and holds on to what it saw", async () => {
    const warned: string[] = [];
    const log = { ...silent, warn: (_: object, text: string) => void warned.push(text) };
    const watch = new DiskWatch(join(folder, "none"), { log });
    await watch.look();
    await watch.look();
    expect(watch.full).toBe(false);
    expect(warned).toEqual(["cannot see how full the disk is"]);
  });
});
