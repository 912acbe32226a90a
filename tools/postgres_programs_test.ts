import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { libraryPath, obtainPostgres } from "./postgres_programs.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "postgres-programs-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** Stand-ins that know their version, in a folder of their own. */
async function install(path: string, version: string, names = ["initdb", "postgres"]): Promise<string> {
  const bin = join(folder, path);
  await mkdir(bin, { recursive: true });
  for (const name of names) {
    await writeFile(
      join(bin, name),
      `#!/bin/sh\necho "${name} (PostgreSQL) ${version} (Debian ${version}-1)"\n`,
    );
    await chmod(join(bin, name), 0o755);
  }
  return bin;
}

/** As on a machine that has only what is in the folder. */
function obtain(environment: Record<string, string>) {
  const cached = join(folder, "cache", "package");
  return obtainPostgres({ environment, debianFolder: join(folder, "debian"), cached });
}

test("obtainPostgres() prefers POSTGRES_BIN to PATH, PATH to Debian's folder, and that to the cache", async () => {
  const named = await install("named", "18.1");
  const onPath = await install("path", "16.3");
  const debian = await install("debian/17/bin", "17.5");
  const cached = await install("cache/package/usr/lib/postgresql/15/bin", "15.18");
  const PATH = `/nonexistent:${onPath}`;
  expect(await obtain({ POSTGRES_BIN: named, PATH })).toEqual({ bin: named, version: "18.1" });
  expect(await obtain({ PATH })).toEqual({ bin: onPath, version: "16.3" });
  expect(await obtain({ PATH: "/nonexistent" })).toEqual({ bin: debian, version: "17.5" });
  await rm(debian, { recursive: true });
  const root = join(folder, "cache", "package");
  expect(await obtain({})).toEqual({ bin: cached, version: "15.18", root });
});

test("obtainPostgres() takes the newest of Debian's versions, by number", async () => {
  await install("debian/9.6/bin", "9.6.24");
  await install("debian/15/bin", "15.18");
  const newest = await install("debian/100/bin", "100.1");
  expect(await obtain({})).toEqual({ bin: newest, version: "100.1" });
});

test("obtainPostgres() passes over a folder that lacks a program, mixes two versions or is too old", async () => {
  const client = await install("client", "17.5", ["postgres"]);
  const mixed = await install("mixed", "17.5");
  await install("mixed", "16.3", ["initdb"]);
  const old = await install("old", "14.20");
  const good = await install("good", "15.0");
  expect((await obtain({ PATH: [client, mixed, old, good].join(":") })).bin).toBe(good);
});

test("obtainPostgres() refuses what POSTGRES_BIN names if there are no such programs or they are too old", async () => {
  await install("path", "16.3");
  const PATH = join(folder, "path");
  for (const POSTGRES_BIN of [join(folder, "none"), await install("old", "14.20")]) {
    await expect(obtain({ POSTGRES_BIN, PATH })).rejects.toThrow(
      `Cannot use POSTGRES_BIN: ${POSTGRES_BIN} has no initdb and postgres of version 15 or newer`,
    );
  }
});

test("libraryPath() names the library folders of unpacked programs, and nothing for installed ones", async () => {
  const root = join(folder, "root");
  for (const path of ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/postgresql"]) {
    await mkdir(join(root, path), { recursive: true });
  }
  const programs = { bin: "/bin", version: "15.18" };
  expect(libraryPath(programs)).toEqual({});
  expect(libraryPath({ ...programs, root })).toEqual({
    LD_LIBRARY_PATH: `${root}/usr/lib/x86_64-linux-gnu:${root}/lib/x86_64-linux-gnu`,
  });
});
