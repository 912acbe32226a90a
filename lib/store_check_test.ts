import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import { beforeEach, describe, expect, it } from "vitest";
import { until } from "../test/support/mod.ts";
import { StoreCheck, watchWriteErrors } from "./store_check.ts";

describe("StoreCheck", () => {
  let now: number;
  let check: StoreCheck;
  beforeEach(() => {
    now = 0;
    check = new StoreCheck({ stream: "ORDER", now: () => now });
  });

  it("fails when the server refuses for want of room, and is well again with the next commit", () => {
    expect(check.ok).toBe(true);
    check.committed("storage");
    expect(check.ok).toBe(false);
    check.committed("conflict");
    expect(check.ok).toBe(false);
    check.committed("committed");
    expect(check.ok).toBe(true);
  });

  it("fails when two commits in a row are not answered, not when one is", () => {
    check.committed("unknown");
    check.committed("committed");
    check.committed("unknown");
    expect(check.ok).toBe(true);
    check.committed("unknown");
    expect(check.ok).toBe(false);
  });

  it("takes a failure for over that nothing has met again, since nothing may be asked of a service that is not ready", () => {
    check.committed("storage");
    now = 14_999;
    expect(check.ok).toBe(false);
    now = 15_000;
    expect(check.ok).toBe(true);
    check.committed("storage");
    expect(check.ok).toBe(false);
  });

  it("begins anew with another server process", () => {
    check.committed("unknown");
    check.reconnected();
    check.committed("unknown");
    expect(check.ok).toBe(true);
    check.committed("unknown");
    check.reconnected();
    expect(check.ok).toBe(true);
  });

  it("fails as long as its stream is one that the server does not write", () => {
    check.named("a", ["PAYMENT"]);
    expect(check.ok).toBe(true);
    expect(check.unwritable).toEqual(["PAYMENT"]);
    check.named("a", ["ORDER", "PAYMENT"]);
    now = 1e9;
    expect(check.ok).toBe(false);
    check.named("a", []);
    expect(check.ok).toBe(true);
  });

  it("goes by more than half of the servers", () => {
    for (const server of ["a", "b", "c"]) check.named(server, []);
    check.named("a", ["ORDER"]);
    expect(check.ok).toBe(true);
    check.named("b", ["ORDER"]);
    expect(check.ok).toBe(false);
  });
});

it("watchWriteErrors() asks the servers again and again, and says once what has changed", async () => {
  let error: string | undefined;
  const server = createServer((_, response) => {
    const errors = error === undefined ? [] : [{ type: "STREAM", stream: "ORDER", error }];
    response.writeHead(errors.length === 0 ? 200 : 503).end(JSON.stringify({ errors }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const said: string[] = [];
  const log = pino({}, { write: (line) => void said.push(JSON.parse(line).msg) });
  const check = new StoreCheck({ stream: "ORDER" });
  const watching = new AbortController();
  const monitorUrl = `http://127.0.0.1:${port}`;
  const watched = watchWriteErrors(check, { monitorUrl, log, signal: watching.signal, everyMs: 10 });
  try {
    error = "JetStream stream '$G > ORDER' write error: no space left on device";
    await until("the stream to be named", () => !check.ok);
    error = undefined;
    await until("the stream to be written again", () => check.ok && said.length > 1);
    expect(said).toEqual([
      "the servers do not write, and will not before they are restarted",
      "the servers write all streams again",
    ]);
  } finally {
    watching.abort();
    await watched;
    server.close();
  }
});
