import { join } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { nanos } from "@nats-io/transport-node";
import { checkoutState, topology } from "../../nats/mod.ts";
import { portUses } from "../../tools/processes.ts";
import {
  auditLedgers,
  checkBatches,
  freePorts,
  type Ledgers,
  type NatsProxy,
  openShop,
  openStreams,
  orUnavailable,
  readLedgers,
  type Streams,
  said,
  sentMails,
  shopServices,
  startProxy,
  type TestShop,
  until,
} from "../support/mod.ts";
import { type Nodes, startNodes } from "./nodes.ts";
import { environment, stock } from "./orders.ts";

/** An order that was answered with 202, and the request that it was the answer to. */
export interface Placed {
  readonly id: string;
  readonly ends: readonly string[];
  readonly key: string;
  readonly body: object;
  /** When the first try was sent; milliseconds since the epoch. */
  readonly since: number;
}

/** What was done to the shop, and what its customers saw of it. */
export interface Tally {
  kills: number;
  pauses: number;
  /** Connections cut, and messages dropped, held or delayed on purpose. */
  network: number;
  requests: number;
  /** Requests answered with 503. */
  refused: number;
  /** Longest time from a fault to an order that was placed after it and is completed. */
  resumedMs: number;
  /** What no customer should ever see. */
  readonly failures: string[];
}

export interface WorldOptions {
  /** What the services read besides {@linkcode environment}. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Starts what the shop finds outside. Default: nothing, it has the sandbox's. @returns What the services read of it. */
  readonly outside?: (stack: AsyncDisposableStack) => Promise<Outside>;
  /** Whether every service reaches the server through a proxy of its own. Default false. */
  readonly linked?: boolean;
  /** How long a message that was delivered waits for its acknowledgement. Default: what the topology says. */
  readonly ackWaitMs?: number;
  /** Size of a disk for nats-server's store alone, which wants root. Default: it shares the machine's. */
  readonly diskBytes?: number;
  /** Servers that run apart from the shop. Default: the shop runs one, as `npm start` does. */
  readonly nodes?: { readonly count: 1 | 3; readonly maxFileStore?: string };
}

/** What a test has in the place of the sandbox's provider or mailboxes. */
export interface Outside {
  readonly environment: Readonly<Record<string, string>>;
  /** Folders that it has put mails in. Default: none. */
  readonly mailFolders?: readonly string[];
}

/** A shop without analytics that can be broken, and everything that was promised to its customers. */
export interface World extends AsyncDisposable {
  readonly shop: TestShop;
  readonly streams: Streams;
  /** By service; empty unless linked. */
  readonly links: ReadonlyMap<string, NatsProxy>;
  readonly nodes: Nodes | undefined;
  readonly tally: Tally;
  readonly accepted: Placed[];
  /** Ids that a test has put into the ledgers itself. */
  readonly ignored: Set<string>;
  /** Folders that mails go to. */
  readonly mailFolders: string[];
  /** Dead letters that there have to be. */
  deadLetters: number;
  /** Where the next order is placed: several order services take turns. */
  orderUrl(): string;
  readonly orderUrls: string[];
  /** What is put here lives as long as the world, and is there when it is audited. */
  readonly stack: AsyncDisposableStack;
}

/** Messages under way when a process is killed come again after `ack_wait`; several kills may hit one order in a row. */
const SETTLE_MS = 90_000;

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const outside = await options.outside?.(stack);
  const nodes = options.nodes && stack.use(await startNodes(options.nodes));
  const uses = portUses(shopServices);
  const free = await freePorts(uses.length);
  const ports = Object.fromEntries(uses.map(({ variable }, index) => [variable, free[index] as number]));
  const target = nodes?.servers ?? `nats://127.0.0.1:${ports.NATS_PORT}`;
  const links = new Map<string, NatsProxy>();
  if (options.linked === true) {
    for (const { name } of shopServices) links.set(name, stack.use(await startProxy(target)));
  }
  const shop = stack.use(
    await openShop(
      {
        ...environment,
        ...(nodes && { NATS_MONITOR_URL: nodes.monitors, REPLICAS: String(nodes.names.length) }),
        ...options.environment,
        ...outside?.environment,
      },
      {
        ports,
        replicas: nodes?.names.length ?? 1,
        ...(options.diskBytes !== undefined && { diskBytes: options.diskBytes }),
        ...(nodes && { servers: nodes.servers, credentials: nodes.credentials }),
        environmentOf: (service) => {
          const link = links.get(service);
          return link === undefined ? {} : { NATS_URL: link.url };
        },
      },
    ),
  );
  const streams = stack.use(await openStreams(shop.shop.operator));
  if (options.ackWaitMs !== undefined) await setAckWait(streams, options.ackWaitMs);
  const tally: Tally = {
    kills: 0,
    pauses: 0,
    network: 0,
    requests: 0,
    refused: 0,
    resumedMs: 0,
    failures: [],
  };
  const orderUrls = [shop.shop.url("order")];
  let turn = 0;
  const opened = stack.move();
  return {
    shop,
    streams,
    links,
    nodes,
    tally,
    accepted: [],
    ignored: new Set(),
    mailFolders: [join(shop.folder, "mail"), ...(outside?.mailFolders ?? [])],
    deadLetters: 0,
    orderUrls,
    orderUrl: () => orderUrls[turn++ % orderUrls.length] as string,
    stack: opened,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Messages that a process has in hand when it dies come again after this. */
export async function setAckWait({ jsm }: Streams, ms: number): Promise<void> {
  for (const { stream, service } of topology.consumers) {
    await jsm.consumers.update(stream, service, { ack_wait: nanos(ms) });
  }
}

/** What was found once everything had come to rest. */
export interface Findings {
  readonly violations: string[];
  /** From the first try to place an order to its end, sorted, in milliseconds. */
  readonly delays: number[];
  readonly batches: number;
  readonly messages: number;
  readonly ledgers: Ledgers;
}

/** Waits until every accepted order has ended and nothing is left to do, and audits everything that is stored. */
export async function settle(world: World): Promise<Findings> {
  const { streams, accepted, ignored, deadLetters, tally } = world;
  const unsettled: string[] = [];
  const rest = async (what: string, wait: () => Promise<unknown>) => {
    try {
      await wait();
    } catch (cause) {
      unsettled.push(`I3 ${what}: ${cause instanceof Error ? cause.message : cause}`);
    }
  };
  await rest("orders", () =>
    until("every accepted order to end", () => allEnded(world), { timeoutMs: SETTLE_MS }),
  );
  await rest("messages", () => streams.quiet());
  const ledgers = without(await readLedgers(streams.jsm), ignored);
  const mails = await sentMails(...world.mailFolders);
  const violations = auditLedgers(ledgers, { accepted, stock, mails, deadLetters });
  return {
    violations: [...unsettled, ...tally.failures, ...violations],
    delays: delaysOf(ledgers, accepted),
    batches: checkBatches(ledgers).count,
    messages: Object.values(ledgers).reduce((sum, messages) => sum + messages.length, 0),
    ledgers,
  };
}

/** Whether no accepted order is under way. */
export async function allEnded({ streams, accepted, ignored }: World): Promise<boolean> {
  const ends = await Promise.all(
    ["checkout.completed.*", "checkout.cancelled.*"].map(async (filter) => {
      // The fault may have been the server's, and this connection one of those it broke.
      const info = await orUnavailable(streams.jsm.streams.info("CHECKOUT", { subjects_filter: filter }));
      const ids = Object.keys(info?.state.subjects ?? {}).map((subject) => subject.split(".")[2] ?? "");
      return ids.filter((id) => !ignored.has(id)).length;
    }),
  );
  return ends.reduce((sum, count) => sum + count, 0) >= accepted.length;
}

function without(ledgers: Ledgers, ignored: ReadonlySet<string>): Ledgers {
  if (ignored.size === 0) return ledgers;
  return Object.fromEntries(
    Object.entries(ledgers).map(([stream, messages]) => [
      stream,
      messages.filter(({ subject }) => !ignored.has(subject.split(".", 3)[2] ?? "")),
    ]),
  );
}

function delaysOf(ledgers: Ledgers, accepted: readonly Placed[]): number[] {
  const states = said(ledgers, checkoutState);
  const delays = accepted.flatMap(({ id, since }) => {
    const at = states.get(id)?.at(-1)?.value.history.at(-1)?.at;
    return at === undefined ? [] : [timestampMs(at) - since];
  });
  return delays.sort((a, b) => a - b);
}
