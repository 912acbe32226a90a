import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));

async function filesOf(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".ts")).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), "utf8")])),
  );
}

it("gen/ is what proto/ says (npm run generate)", async () => {
  const folder = await mkdtemp(join(tmpdir(), "gen-test-"));
  try {
    await promisify(execFile)("buf", ["generate", "--output", folder], { cwd: root });
    expect(await filesOf(join(folder, "gen"))).toEqual(await filesOf(join(root, "gen")));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
