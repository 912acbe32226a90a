import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mountSmallDisk } from "../test/support/small_disk.ts";
import { watchStore } from "./store_watch.ts";
import { scratchFolder, until } from "./testdata/scratch.ts";

const failure = "JetStream stream '$G > ORDER' write error: no space left on device";
let fails: boolean;
let monitorUrl: string;
let close: () => void;
beforeEach(async () => {
  fails = false;
  const server = createServer((_, response) => {
    const errors = fails ? [{ type: "STREAM", stream: "ORDER", error: failure }] : [];
    response.writeHead(fails ? 503 : 200).end(JSON.stringify({ errors }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  monitorUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  close = () => server.close();
});
afterEach(() => close());

test("watchStore() waits for room, restarts a server that does not write, and says all of it once", async () => {
  using folder = scratchFolder();
  using disk = mountSmallDisk(folder.path, { bytes: 64 * 2 ** 20 });
  disk.fill();
  const reported: string[] = [];
  const killed: NodeJS.Signals[] = [];
  const natsServer = {
    async kill(signal: NodeJS.Signals) {
      killed.push(signal);
      fails = false;
    },
    ready: async () => undefined,
  };
  using _ = watchStore({
    natsServer,
    monitorUrl,
    store: folder.path,
    report: (line) => reported.push(line),
    everyMs: 10,
  });
  fails = true;
  const lacking = `nats-server does not write ORDER any more; it is restarted once there is room: ${folder.path} has 0 MiB free and needs 48; make room`;
  await until(() => reported.length > 0);
  expect(reported).toEqual([lacking]);
  expect(killed).toEqual([]);
  disk.clear();
  await until(() => reported.length > 2);
  expect(killed).toEqual(["SIGKILL"]);
  expect(reported).toEqual([
    lacking,
    "nats-server does not write ORDER any more, and there is room: restarting it",
    "nats-server writes again",
  ]);
});

test("watchStore() says that the server does not start again, and tries again", async () => {
  using folder = scratchFolder();
  const reported: string[] = [];
  let tries = 0;
  using _ = watchStore({
    natsServer: {
      kill: async () => undefined,
      ready: async () => {
        if (++tries === 1) throw new Error("it is not ready after 1 s");
        fails = false;
      },
    },
    monitorUrl,
    store: folder.path,
    report: (line) => reported.push(line),
    everyMs: 10,
  });
  fails = true;
  await until(() => reported.includes("nats-server writes again"));
  expect(reported).toContain("cannot restart nats-server: it is not ready after 1 s");
});
