import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startNats } from "../test/support/mod.ts";
import { mountSmallDisk } from "../test/support/small_disk.ts";
import { applyTopology, commit, newHeaders, readWriteErrors } from "./mod.ts";

it("readWriteErrors() names a stream from a write that found no room until the server is started again", async () => {
  const store = await mkdtemp(join(tmpdir(), "write-errors-"));
  try {
    using disk = mountSmallDisk(store, { bytes: 64 * 2 ** 20 });
    await using nats = await startNats({
      configure: (text) => text.replace("$NATS_STORE_DIR", JSON.stringify(store)),
    });
    await applyTopology({ servers: nats.url });
    const write = async (messages: number) => {
      const { connection } = await nats.connect();
      const entries = Array.from({ length: messages }, (_, index) => ({
        subject: `order.filler.${index}`,
        data: new Uint8Array(5_000),
        headers: newHeaders(),
      }));
      return (await commit(connection, "ORDER", entries, { timeoutMs: 500 })).kind;
    };
    const named = () => readWriteErrors(nats.monitorUrl, { timeoutMs: 1_000 });
    expect(await write(1)).toBe("committed");
    disk.fill();
    expect(await write(2)).toBe("unknown");
    expect(await named()).toEqual([]);
    expect(await write(1)).toBe("unknown");
    expect(await named()).toEqual(["ORDER"]);
    disk.clear();
    expect(await write(1)).toBe("unknown");
    expect(await named()).toEqual(["ORDER"]);
    await nats.restart();
    expect(await named()).toEqual([]);
    expect(await write(2)).toBe("committed");
  } finally {
    await rm(store, { recursive: true, force: true });
  }
}, 30_000);

it("readWriteErrors() takes nothing else that ails a server for one", async () => {
  const errors = [
    { type: "STREAM", account: "$G", stream: "ORDER", error: "JetStream stream '$G > ORDER' is not current" },
    { type: "JETSTREAM", error: "JetStream is not enabled" },
  ];
  const server = createServer((_, response) => {
    response.writeHead(503).end(JSON.stringify({ status: "error", errors }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    expect(await readWriteErrors(`http://127.0.0.1:${port}/`, { timeoutMs: 1_000 })).toEqual([]);
  } finally {
    server.close();
  }
});
