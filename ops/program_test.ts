import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applyTopology } from "../nats/mod.ts";
import { type NatsServer, startNats } from "../test/support/mod.ts";
import { shell } from "./testing.ts";

let nats: NatsServer;
let environment: Record<string, string>;
beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  environment = { NATS_URL: nats.url, DATA_DIR: "/nowhere" };
});
afterAll(() => nats[Symbol.asyncDispose]());

const run = (command: string) => shell(command, { environment });

it("what does not get out for another reason is an error in one line", async () => {
  const { code, err } = await run("$OPS lag --once > /dev/full");
  expect(code).toBe(1);
  expect(err).toMatch(/^Cannot write to standard output: ENOSPC[^\n]*\n$/);
});

describe("a command whose output nobody reads on", () => {
  // `true` is gone before the first line; `head` goes between two pieces of what is more than a pipe holds.
  it.each([
    "$OPS --help | true",
    "$OPS catalog --json | true",
    "$OPS catalog --asyncapi | head -n 1 > /dev/null",
    "$OPS reconcile 2>&1 | true",
  ])("ends quietly, with what it comes to: %s", async (command) => {
    expect(await run(`${command}; echo \${PIPESTATUS[0]}`)).toEqual({ code: 0, out: "0\n", err: "" });
  });

  it("does not hide by that what it comes to", async () => {
    const client = await nats.connect();
    await client.jsm.consumers.delete("CHECKOUT", "payment");
    const ran = await run(`$OPS lag --json | true; echo \${PIPESTATUS[0]}`);
    expect(ran).toEqual({ code: 0, out: "1\n", err: "" });
  });
});
