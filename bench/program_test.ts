import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { benchmarks } from "./benchmarks.ts";

/** What a command line comes to: its exit code and what it says. */
function bench(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const file = join(import.meta.dirname, "main.ts");
  return new Promise((resolve) => {
    execFile(process.execPath, [file, ...args], (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

test("npm run bench -- --help names the benchmarks and the options", async () => {
  const { code, out } = await bench("--help");
  expect(code).toBe(0);
  for (const { name } of benchmarks) expect(out).toContain(name);
  for (const option of ["--concurrency", "--seconds"]) expect(out).toContain(option);
});

test.each([
  [["nonsense"], "nonsense"],
  [["checkout", "--targets", "nobody"], "nobody"],
  [["checkout", "--concurrency", "1,0"], "1,0"],
  [["accept", "--seconds", "soon"], "soon"],
  [["cascade", "--faults", "slow,fire"], "fire"],
  [["accept", "--json", "/no/such/folder/figures.json"], "/no/such/folder"],
])("npm run bench -- %j is a mistake that is explained, with %j", async (args, wrong) => {
  const { code, err } = await bench(...args);
  expect(code).toBe(2);
  expect(err).toMatch(/^error: /);
  expect(err).toContain(wrong);
});
