import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeAll, expect, it } from "vitest";
import { INSTALL_TIMEOUT_MS, installClients } from "./support.ts";

beforeAll(async () => {
  await installClients();
}, INSTALL_TIMEOUT_MS);

it("the files of this folder fit the types of its packages (tsc --project test/clients)", async () => {
  const options = { cwd: import.meta.dirname };
  const said = await promisify(execFile)("tsc", ["--project", "."], options).catch(({ stdout }) => ({
    stdout,
  }));
  expect(said.stdout).toBe("");
});
