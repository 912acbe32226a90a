import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

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
  for (const word of ["checkout", "accept", "--concurrency", "--seconds"]) expect(out).toContain(word);
});

test.each([
  [["nonsense"]],
  [["checkout", "--targets", "nobody"]],
  [["checkout", "--concurrency", "1,0"]],
  [["accept", "--seconds", "soon"]],
  [["cascade", "--faults", "slow,fire"]],
  [["accept", "--json", "/no/such/folder/figures.json"]],
])("npm run bench -- %j is a mistake that is explained", async (args) => {
  const { code, err } = await bench(...args);
  expect(code).toBe(2);
  expect(err).toMatch(/^error: /);
});
