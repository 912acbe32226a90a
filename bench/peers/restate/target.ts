import { join } from "node:path";
import { freePorts, loopback } from "../../../tools/ports.ts";
import { openPoster } from "../../http.ts";
import { nodeFlagsSetting } from "../../node_flags.ts";
import type { Target } from "../../target.ts";
import {
  answersOk,
  checkoutBy,
  installedVersions,
  isListening,
  loopbackUrl,
  nodeProgram,
  openPeer,
  type PeerOptions,
} from "../peer.ts";

export interface RestateOptions extends PeerOptions {
  /**
   * `services`: each participant is a service that the checkout calls, as in the shop. `saga`: the effects are steps of the
   * checkout's own handler, which is faster. Default `services`.
   */
  readonly layout?: "saga" | "services";
  /** How many partitions the server has. Default its own default, 24. */
  readonly partitions?: number;
}

const server = "restate-server";

/** Restate's server with its defaults on a folder of its own, and the handlers in one Node process. */
export async function startRestate(options: RestateOptions): Promise<Target> {
  const { dataDir, signal, layout = "services", partitions } = options;
  const [ingress, admin, fabric, handlers] = (await freePorts(4)) as [number, number, number, number];
  await using stack = new AsyncDisposableStack();
  const peer = stack.use(openPeer(options));
  await peer.start({
    name: "handlers",
    ...nodeProgram(join(import.meta.dirname, "app", "main.ts")),
    env: { PORT: `${handlers}` },
    channel: true,
    isReady: () => isListening(handlers),
  });
  await peer.start({
    name: server,
    command: binary(),
    args: ["--no-logo", "--node-name", "bench", "--base-dir", join(dataDir, "restate")],
    env: {
      RESTATE_LISTEN_MODE: "tcp",
      RESTATE_BIND_IP: loopback,
      RESTATE_BIND_PORT: `${fabric}`,
      RESTATE_ADVERTISED_HOST: loopback,
      RESTATE_INGRESS__BIND_PORT: `${ingress}`,
      RESTATE_ADMIN__BIND_PORT: `${admin}`,
      RESTATE_DISABLE_TELEMETRY: "true",
      ...(partitions !== undefined && { RESTATE_DEFAULT_NUM_PARTITIONS: `${partitions}` }),
    },
    isReady: async () =>
      (await answersOk(`${loopbackUrl(admin)}/health`)) &&
      (await answersOk(`${loopbackUrl(ingress)}/restate/health`)),
  });
  await register(loopbackUrl(handlers), { admin: loopbackUrl(admin), signal });
  const service = layout === "saga" ? "Checkout" : "CheckoutOfServices";
  const poster = stack.use(openPoster(loopbackUrl(ingress), `/${service}/run`));
  const owned = stack.move();
  return {
    name: layout === "saga" ? "restate-saga" : "restate",
    versions: installedVersions(import.meta.dirname, [
      "@restatedev/restate-server",
      "@restatedev/restate-sdk",
    ]),
    settings: [
      partitions === undefined
        ? "One server with its default settings (24 partitions)."
        : `One server with its default settings but for ${partitions} partitions instead of 24.`,
      layout === "saga"
        ? "The checkout is one handler, each effect a step of it (`ctx.run`), stock a virtual object for each sku; all in one Node process."
        : "Checkout, payment, fulfilment and notification are services, stock a virtual object for each sku; all in one Node process.",
      "Durable at every step: each is in the server's log, synced to the disk, before the next one begins.",
      nodeFlagsSetting("The Node process runs"),
    ],
    pids: peer.pids,
    checkout: checkoutBy(poster, { status: 200 }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The server itself: its npm package's own command is a Node process that starts it and waits. */
function binary(): string {
  const name = `restate-server-${process.platform}-${process.arch}`;
  return join(import.meta.dirname, "node_modules", "@restatedev", name, "bin", server);
}

/** Tells the server where the handlers are. It asks them what there is. */
async function register(
  uri: string,
  options: { admin: string; signal: AbortSignal | undefined },
): Promise<void> {
  const response = await fetch(`${options.admin}/deployments`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ uri }),
    ...(options.signal && { signal: options.signal }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`Cannot register the handlers with Restate: ${response.status} ${text}`);
}
