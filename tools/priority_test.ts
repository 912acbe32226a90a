import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { assert, expect, it } from "vitest";
import { lowerPriority } from "./priority.ts";

it("lowerPriority() lets others go before a process, and gives none more than whoever starts it has", () => {
  const child = spawn(process.execPath, ["--eval", "setInterval(() => {}, 1_000)"], {
    stdio: "ignore",
    detached: true,
  });
  try {
    const { pid } = child;
    assert(pid !== undefined);
    const said: string[] = [];
    const report = (line: string) => void said.push(line);
    lowerPriority(pid, { niceness: getPriority(), report });
    expect(getPriority(pid)).toBe(getPriority());
    lowerPriority(pid, { niceness: 19, report });
    expect(getPriority(pid)).toBe(19);
    const autogroup = `/proc/${pid}/autogroup`;
    if (existsSync(autogroup) && said.length === 0) {
      expect(readFileSync(autogroup, "utf8")).toMatch(/nice 19$/m);
    }
    lowerPriority(2 ** 22 + 1, { niceness: 19, report });
    expect(said.at(-1)).toContain("cannot lower the priority of process 4194305");
  } finally {
    child.kill("SIGKILL");
  }
});
