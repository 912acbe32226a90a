import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { type Access, accessOptions } from "../nats/mod.ts";
import { createChild } from "../tools/child.ts";
import { freePorts, loopback } from "../tools/ports.ts";
import { natsServerName } from "../tools/processes.ts";
import { askReadiness } from "../tools/readiness.ts";
import { openAccepting } from "./accepting.ts";
import { nodeFlags, nodeFlagsSetting } from "./node_flags.ts";
import { natsServerSetting, openShop, pidsOf, type ShopTargetOptions } from "./shop.ts";
import type { Target } from "./target.ts";

const name = "bare server";
const stream = "BARE";
const subject = "bare.created";
const READY_WITHIN_MS = 30_000;

/**
 * The yardstick for accepting orders: a Hono server that parses the body, publishes one message and waits for its ack,
 * on a nats-server that is set up as the shop's.
 */
export async function startBare(options: ShopTargetOptions): Promise<Target> {
  await using stack = new AsyncDisposableStack();
  // A shop without services is its nats-server, with the very same settings.
  const shop = stack.use(await openShop({ ...options, services: [] }));
  await makeStream(shop.operator);
  const [port = 0] = await freePorts(1);
  const url = `http://${loopback}:${port}`;
  const child = createChild({
    name,
    command: process.execPath,
    args: [
      ...nodeFlags,
      "--disable-warning=ExperimentalWarning",
      join(import.meta.dirname, "bare_server.ts"),
    ],
    env: {
      ...process.env,
      BARE_PORT: `${port}`,
      BARE_SUBJECT: subject,
      NATS_URL: shop.natsUrl,
      NATS_NKEY_FILE: shop.operator.nkeyFile,
    },
    stdio: "ignore",
    waitsFor: () => askReadiness(`${url}/readyz`),
    readyWithinMs: READY_WITHIN_MS,
    report: () => undefined,
  });
  // Whatever ends this process takes the server with it.
  const close = () => child.close();
  process.on("exit", close);
  stack.defer(async () => {
    await child.stop({ graceMs: 5_000 });
    process.off("exit", close);
  });
  await child.start();
  const accepting = stack.use(openAccepting(url));
  const closing = stack.move();
  return {
    name: "bare",
    versions: {},
    settings: [
      "A Hono server that parses the body and publishes one message with an ack, without logs and limits.",
      natsServerSetting,
      nodeFlagsSetting("The server runs"),
    ],
    pids: () =>
      new Map([...pidsOf(shop, [natsServerName]), ...(child.pid ? [[name, child.pid] as const] : [])]),
    checkout: accepting.checkout,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

async function makeStream(operator: Access): Promise<void> {
  const connection = await connect({ ...accessOptions(operator), name: "bench" });
  try {
    const jsm = await jetstreamManager(connection);
    await jsm.streams.add({ name: stream, subjects: [`${subject}.*`], storage: "file" });
  } finally {
    await connection.close();
  }
}
