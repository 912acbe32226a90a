import { beforeAll, describe, expect, it } from "vitest";
import { type Ended, spawnFixture } from "./testdata/spawn.ts";

describe("createLog()", () => {
  const { child, ready, ended } = spawnFixture("secrets");
  let output: Ended;
  beforeAll(async () => {
    await ready;
    child.kill("SIGTERM");
    output = await ended;
  });

  it("writes one JSON object a line, with the service, the time and the level by name", () => {
    expect(output.lines.length).toBeGreaterThan(8);
    for (const line of output.lines) {
      expect(line).toMatchObject({
        service: "fixture",
        level: expect.stringMatching(/^(info|error)$/),
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        msg: expect.any(String),
      });
    }
    expect(output.lines.find(({ msg }) => msg === "ready")).toMatchObject({ order_id: "ord_1" });
  });

  it.each([
    "in the entry",
    "in an object",
    "two levels down",
    "three levels down",
    "in a list",
    "in a child",
    "in a child's object",
    "in an error",
  ])("keeps no secret %s", (msg) => {
    const line = JSON.stringify(output.lines.find((entry) => entry.msg === msg));
    expect(line).toContain("[Redacted]");
    for (const secret of ["tok_1", "tok_2", "Bearer 3", '"4"']) expect(line).not.toContain(secret);
  });
});

describe("a library that prints", () => {
  it("writes lines of the log", async () => {
    const { child, ready, ended } = spawnFixture("prints");
    await ready;
    child.kill("SIGTERM");
    const { lines } = await ended;
    expect(lines.slice(0, 2)).toMatchObject([
      { level: "error", service: "fixture", msg: "printed", err: { type: "Error" } },
      { level: "info", service: "fixture", msg: "two words" },
    ]);
  });
});
