import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { expect, test } from "vitest";
import { findNatsServer, projectFolder } from "./nats_server.mjs";
import { scratchFolder } from "./testdata/scratch.ts";

function setup(args: readonly string[], env: Record<string, string>) {
  const run = spawnSync(process.execPath, [join(projectFolder, "tools", "setup.mjs"), ...args], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  return { code: run.status, out: run.stdout, errors: run.stderr };
}

test("setup does nothing where all is there", () => {
  using folder = scratchFolder();
  for (const tool of ["npm", "apt-get", "tar"]) {
    writeFileSync(join(folder.path, tool), "#!/bin/sh\necho called >&2\nexit 1\n");
    chmodSync(join(folder.path, tool), 0o755);
  }
  const PATH = `${folder.path}${delimiter}${process.env.PATH}`;
  expect(setup([], { PATH, NATS_SERVER: findNatsServer().path })).toEqual({ code: 0, out: "", errors: "" });
});

test("setup names a NATS_SERVER that is missing", () => {
  expect(setup([], { NATS_SERVER: "/nonexistent/nats-server" })).toEqual({
    code: 1,
    out: "",
    errors:
      "setup: Cannot use NATS_SERVER: /nonexistent/nats-server is missing or is not an executable file\n",
  });
});

test("setup --help tells what it does", () => {
  const run = setup(["--help"], {});
  expect(run.code).toBe(0);
  expect(run.out).toContain("Usage: node tools/setup.mjs");
});
