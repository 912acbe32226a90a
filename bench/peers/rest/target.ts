import { join } from "node:path";
import type { Child } from "../../../tools/child.ts";
import { freePorts } from "../../../tools/ports.ts";
import { openPoster } from "../../http.ts";
import { nodeFlagsSetting } from "../../node_flags.ts";
import type { Target } from "../../target.ts";
import {
  answersOk,
  checkoutBy,
  installedVersions,
  loopbackUrl,
  nodeProgram,
  openPeer,
  type Peer,
  type PeerOptions,
} from "../peer.ts";

/** The chain, with what can go wrong with one of its services. */
export interface RestTarget extends Target {
  /** From now on each answer of inventory takes this long. 0 is as it was. */
  slowInventory(latencyMs: number): Promise<void>;
  /** Kills inventory, and with it what it knew. Resolves when it is gone. */
  stopInventory(): Promise<void>;
  /** Resolves when it serves again. */
  startInventory(): Promise<void>;
  /** Base URL of a service: what it has done can be asked of it. */
  url(service: Service): string;
}

const END_WITHIN_MS = 1_000;

/** In the order in which they are called. */
const services = ["order", "inventory", "fraud", "payment", "fulfillment", "notification"] as const;
type Service = (typeof services)[number];
type Urls = Readonly<Record<Service, string>>;

/** Six services, each its own process, of which `order` calls the others in turn. */
export async function startRest(options: PeerOptions): Promise<RestTarget> {
  const ports = await freePorts(services.length);
  const urls = Object.fromEntries(
    services.map((service, i) => [service, loopbackUrl(ports[i] as number)]),
  ) as Urls;
  await using stack = new AsyncDisposableStack();
  const peer = stack.use(openPeer(options));
  const children = await Promise.all(services.map((service) => startService(peer, { service, urls })));
  const inventory = children[services.indexOf("inventory")] as Child;
  const poster = stack.use(openPoster(urls.order, "/orders"));
  const owned = stack.move();
  return {
    name: "rest",
    versions: installedVersions(import.meta.dirname, ["hono", "@hono/node-server", "undici"]),
    settings: [
      "Six Hono services, each its own process; order calls the others in turn over kept connections, with a timeout of 5 s and no retries.",
      "Not durable: all state is in memory, and what is under way when a process ends is lost.",
      nodeFlagsSetting("Every service runs"),
    ],
    pids: peer.pids,
    checkout: checkoutBy(poster, { status: 201 }),
    slowInventory: (latencyMs) => setLatency(urls.inventory, latencyMs),
    // It does not handle the signal, and ends at once.
    stopInventory: () => inventory.stop({ graceMs: END_WITHIN_MS }),
    startInventory: () => inventory.start(),
    url: (service) => urls[service],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function startService(peer: Peer, { service, urls }: { service: Service; urls: Urls }): Promise<Child> {
  const variables = services.map((one) => [`${one.toUpperCase()}_URL`, urls[one]]);
  return peer.start({
    name: service,
    ...nodeProgram(join(import.meta.dirname, "app", `${service}.ts`)),
    env: { PORT: new URL(urls[service]).port, ...Object.fromEntries(variables) },
    channel: true,
    isReady: () => answersOk(`${urls[service]}/healthz`),
  });
}

async function setLatency(inventory: string, latencyMs: number): Promise<void> {
  const response = await fetch(`${inventory}/fault`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ latencyMs }),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`Cannot set the latency of inventory: ${response.status}`);
}
