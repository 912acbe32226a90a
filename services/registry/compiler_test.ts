import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RegistryError } from "../../nats/mod.ts";
import { Compiler } from "./compiler.ts";

const schema = (n: number) => ({ "schema.proto": `syntax = "proto3";\nmessage M${n} {}\n` });

describe("Compiler", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "compiler-test-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("compiles the same text once, and leaves no file behind", async () => {
    const compiler = new Compiler(folder);
    const [one, other] = await Promise.all([compiler.compile(schema(1)), compiler.compile(schema(1))]);
    expect(other).toBe(one);
    expect(await compiler.compile(schema(1))).toBe(one);
    expect(await readdir(folder)).toEqual([]);
  });

  it("compiles a long text each time: what it makes of it takes memory", async () => {
    const compiler = new Compiler(folder);
    const long = { "schema.proto": `${schema(1)["schema.proto"]}${"// comment\n".repeat(4_000)}` };
    expect(await compiler.compile(long)).not.toBe(await compiler.compile(long));
  });

  it("says what is wrong each time it is asked", async () => {
    const compiler = new Compiler(folder);
    const wrong = { "schema.proto": "message {" };
    for (const _ of [1, 2]) {
      await expect(compiler.compile(wrong)).rejects.toMatchObject({
        code: 42201,
        message: expect.stringContaining("schema.proto:1:"),
      });
    }
  });

  it("50002: refuses more than can wait, and carries out those that do", async () => {
    // Each fails as soon as it begins: what is looked at is who is let in.
    const compiler = new Compiler(join(folder, "missing"));
    const asked = Array.from({ length: 70 }, (_, n) =>
      compiler.compile(schema(n)).catch((cause: Error) => cause),
    );
    const causes = await Promise.all(asked);
    const refused = causes.filter((cause) => cause instanceof RegistryError);
    expect(refused).toHaveLength(4);
    expect(refused[0]).toMatchObject({ code: 50002, message: expect.stringContaining("Try again") });
    // They have left.
    expect(await compiler.compile(schema(99)).catch((cause: Error) => cause)).toMatchObject({
      code: "ENOENT",
    });
  });
});
