import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { applyTopology } from "../../nats/mod.ts";
import { type Service, services } from "../../services/mod.ts";
import { exampleOrder } from "../../tools/example_order.ts";
import { flaggedAddress } from "../../tools/order_kinds.ts";
import { portUses } from "../../tools/processes.ts";
import { guardStore } from "../../tools/store_memory.ts";
import { type Shop, type ShopOptions, startShop, startWholeShop } from "../../tools/supervisor.ts";
import { waitForWholeLedgers } from "../../tools/whole_ledgers.ts";
import { providePGlite } from "./pglite.ts";
import { freePorts } from "./ports.ts";
import { mountSmallDisk, type SmallDisk } from "./small_disk.ts";
import { until } from "./until.ts";

/** `GET /orders/{id}`. */
export interface OrderView {
  order_id: string;
  state: string;
  reason?: string;
  total_cents: number;
  currency: string;
  history: { state: string; at: string; cause: string }[];
}

export interface Answer<T = Record<string, unknown>> {
  status: number;
  body: T;
  headers: Headers;
}

/** A whole shop of a test's own, every service its own process, and what a customer and an operator do with it. */
export interface TestShop extends AsyncDisposable {
  /** Another one after each {@linkcode crash}. */
  readonly shop: Shop;
  readonly folder: string;
  /** What the supervisor has reported, line by line. */
  readonly reported: readonly string[];
  /** What nats-server stores on, if the shop was opened with one of its own. */
  readonly disk: SmallDisk | undefined;
  /**
   * Kills everything at once, all that the supervisor keeps included, and starts the shop again on what is on the disk. What only
   * looks on may not be ready by then.
   * @param meanwhile Called while nothing runs. Default: nothing.
   */
  crash(meanwhile?: () => Promise<void>): Promise<void>;
  call<T = Record<string, unknown>>(
    service: string,
    path: string,
    options?: { method?: string; body?: unknown; headers?: Record<string, string> },
  ): Promise<Answer<T>>;
  /** Places {@linkcode exampleOrder} with changes, and returns its id. */
  place(changes?: Record<string, unknown>): Promise<string>;
  order(id: string): Promise<OrderView>;
  /** Resolves when the order is in one of `states`. */
  reaches(id: string, states: string | readonly string[]): Promise<OrderView>;
  /** Resolves when the order has ended. */
  ends(id: string): Promise<OrderView>;
}

export { exampleOrder, flaggedAddress };

export const operator = { authorization: "Bearer dev" };

/** Long enough for a process to be killed and started again on a busy machine. */
const PATIENCE_MS = 45_000;

/** What runs in a shop unless it is opened with analytics. */
export const shopServices: readonly Service[] = services.filter(({ name }) => name !== "analytics");

/**
 * @param environment What the services read besides the defaults: deadlines, for example.
 * @param options How the shop differs from what `npm start` runs, and how often each stream is stored.
 */
export async function openShop(
  environment: Record<string, string> = {},
  options: Pick<ShopOptions, "servers" | "credentials" | "environmentOf" | "ports"> & {
    replicas?: number;
    /** Whether analytics runs, on PGlite unless `DATABASE_URL` is set. Default false: no order waits for it. */
    analytics?: boolean;
    /** Size of a disk for nats-server's store alone. Default: it shares the machine's. */
    diskBytes?: number;
  } = {},
): Promise<TestShop> {
  const { replicas = 1, analytics = false, diskBytes, ...differences } = options;
  const folder = await mkdtemp(join(tmpdir(), "shop-test-"));
  const disk =
    diskBytes === undefined ? undefined : mountSmallDisk(join(folder, "nats"), { bytes: diskBytes });
  if (analytics && environment.DATABASE_URL === undefined) await providePGlite(join(folder, "analytics"));
  const reported: string[] = [];
  let guard: AsyncDisposable | undefined;
  const report = (line: string) => void reported.push(line);
  const started = analytics ? services : shopServices;
  const uses = portUses(started);
  const free = await freePorts(uses.length);
  const open = (start: typeof startShop) =>
    start({
      dataDir: folder,
      ports: Object.fromEntries(uses.map(({ variable }, index) => [variable, free[index] as number])),
      services: started,
      prepare: async (operator) => {
        await applyTopology({ ...operator, replicas });
        await waitForWholeLedgers(operator, { report });
        guard = await guardStore({ operator, file: join(folder, "seen.json"), report });
      },
      // The same few programs are started hundreds of times.
      environment: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
        ...environment,
      },
      logs: { file: join(folder, "shop.log") },
      report,
      ...differences,
    });
  let shop = await open(startWholeShop);

  const call: TestShop["call"] = async (service, path, { method = "GET", body, headers } = {}) => {
    const response = await fetch(`${shop.url(service)}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === "" ? undefined : JSON.parse(text),
      headers: response.headers,
    };
  };
  const reaches: TestShop["reaches"] = (id, states) => {
    const wanted = typeof states === "string" ? [states] : states;
    return until(
      `${id} to be ${wanted.join(" or ")}`,
      async () => {
        const { body } = await call<OrderView>("order", `/orders/${id}`).catch(() => ({ body: undefined }));
        return body !== undefined && wanted.includes(body.state) ? body : undefined;
      },
      { timeoutMs: PATIENCE_MS },
    );
  };

  return {
    get shop() {
      return shop;
    },
    folder,
    disk,
    reported,
    async crash(meanwhile = async () => undefined) {
      const names = [
        ...(differences.servers === undefined ? ["nats-server"] : []),
        ...started.map(({ name }) => name),
      ];
      const pids = names.flatMap((name) => shop.pid(name) ?? []);
      await guard?.[Symbol.asyncDispose]();
      shop.close();
      await until("everything to be dead", () => !pids.some(runs));
      await meanwhile();
      shop = await open(startShop);
    },
    call,
    reaches,
    ends: (id) => reaches(id, ["completed", "cancelled"]),
    order: async (id) => (await call<OrderView>("order", `/orders/${id}`)).body,
    async place(changes = {}) {
      // As a customer's client does: the same key until there is an answer.
      const headers = { "idempotency-key": randomUUID() };
      const body = { ...exampleOrder, ...changes };
      const answer = await until(
        "an order to be accepted",
        async () => {
          const sent = await call<{ order_id: string }>("order", "/orders", {
            method: "POST",
            body,
            headers,
          }).catch((cause) => ({ status: 0, body: { order_id: "", detail: String(cause) } }));
          return sent.status === 0 || sent.status === 409 || sent.status >= 500 ? undefined : sent;
        },
        { timeoutMs: PATIENCE_MS },
      );
      if (answer.status !== 202) throw new Error(`Cannot place an order: ${JSON.stringify(answer)}`);
      return answer.body.order_id;
    },
    async [Symbol.asyncDispose]() {
      await guard?.[Symbol.asyncDispose]();
      await shop.shutdown();
      disk?.[Symbol.dispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ESRCH") return false;
    throw cause;
  }
}
