import { describe, expect, it } from "vitest";
import { spawnFixture } from "./testdata/spawn.ts";

const backwards = ["third", "second", "first"];

describe("run()", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "disposes in reverse order and exits with 0 on %s",
    async (signal) => {
      const { child, ready, ended } = spawnFixture("serves");
      await ready;
      child.kill(signal);
      const { code, lines, disposed } = await ended;
      expect(code).toBe(0);
      expect(disposed).toEqual(backwards);
      expect(lines.find(({ msg }) => msg === "stopping")).toMatchObject({ why: signal });
      expect(lines.map(({ msg }) => msg)).toContain("stopped");
    },
  );

  it("stops when its parent is gone", async () => {
    const { child, ready, ended } = spawnFixture("serves");
    await ready;
    child.disconnect();
    const { code, disposed } = await ended;
    expect(code).toBe(0);
    expect(disposed).toEqual(backwards);
  });

  it("drains once, however often it is told to", async () => {
    const { child, ready, ended } = spawnFixture("serves");
    await ready;
    for (const signal of ["SIGTERM", "SIGTERM", "SIGINT"] as const) child.kill(signal);
    const { code, disposed } = await ended;
    expect(code).toBe(0);
    expect(disposed).toEqual(backwards);
  });

  it("is stopped while it still starts", async () => {
    const { child, ready, ended } = spawnFixture("hangs");
    await ready;
    child.kill("SIGTERM");
    const { code, disposed } = await ended;
    expect(code).toBe(0);
    expect(disposed).toEqual(backwards);
  });

  it("exits with 1 and one line when a person has to mend something, and leaves nothing open", async () => {
    const { code, lines, disposed } = await spawnFixture("mistake").ended;
    expect(code).toBe(1);
    expect(lines).toEqual([
      {
        level: "fatal",
        time: expect.any(String),
        service: "fixture",
        msg: "Cannot start fixture: set FIXTURE_PORT",
      },
    ]);
    expect(disposed).toEqual(backwards);
  });

  it("exits with 1 and the whole error when it is a bug", async () => {
    const { code, lines, disposed } = await spawnFixture("bug").ended;
    expect(code).toBe(1);
    expect(lines.find(({ level }) => level === "fatal")).toMatchObject({
      err: { type: "TypeError", stack: expect.stringContaining("process.ts") },
    });
    expect(disposed).toEqual(backwards);
  });

  it("exits with 1 when it cannot go on, so that it is started again", async () => {
    const { code, lines, disposed } = await spawnFixture("fails").ended;
    expect(code).toBe(1);
    expect(lines.map(({ msg }) => msg)).toContain("Cannot go on: the credential is refused");
    expect(disposed).toEqual(backwards);
  });

  it("exits with 1 when it cannot stop cleanly, and disposes of the rest all the same", async () => {
    const { child, ready, ended } = spawnFixture("unclean");
    await ready;
    child.kill("SIGTERM");
    const { code, lines, disposed } = await ended;
    expect(code).toBe(1);
    expect(disposed).toEqual(backwards);
    expect(lines.map(({ msg }) => msg)).toContain("could not stop cleanly");
  });
});
