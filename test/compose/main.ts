// `npm run compose:smoke`: what compose.yaml describes is built and run; orders complete, a service and nats-server are
// stopped and started, nothing is lost, and all of it is taken down.
import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { commandOf } from "../../services/command.ts";
import { services } from "../../services/mod.ts";
import { exampleOrder } from "../../tools/example_order.ts";
import { projectFolder } from "../../tools/nats_server.mjs";
import { until } from "../support/until.ts";
import { findEngine, NoEngineError } from "./engine.ts";
import { pulledImages } from "./file.ts";
import { type Stack, startStack } from "./stack.ts";

interface Order {
  readonly order_id: string;
  readonly state: string;
  readonly history: readonly { readonly state: string }[];
}

/** Well above what a start takes, since all share two cores. */
const TIMEOUT_MS = 120_000;

async function main(signal: AbortSignal): Promise<void> {
  await using engine = await findEngine(pulledImages());
  signal.throwIfAborted();
  say("building and starting");
  await using stack = await startStack(engine, { signal });
  const stopped = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => stopped.reject(signal.reason));
  try {
    await Promise.race([check(stack), stopped.promise]);
  } catch (cause) {
    if (!signal.aborted) console.error(await stack.compose("logs", "--no-color", "--tail", "30"));
    throw cause;
  }
  say("taking everything down");
}

async function check(stack: Stack): Promise<void> {
  say("every process has its permissions, and no others");
  for (const service of services) {
    const environment = {
      DATA_DIR: "/data",
      NATS_NKEY_FILE: "/credential/seed.nk",
      // Read by order alone.
      STORE_DISK: "/credential",
    };
    const { args } = commandOf(service, { root: "/app", environment });
    const shown = await stack.compose("exec", "-T", service.name, "cat", "/proc/1/cmdline", "/proc/1/status");
    const [command = "", status = ""] = split(shown);
    assert.deepEqual(command.split("\0").slice(1, -1), args, service.name);
    assert.match(status, /^Uid:\t1000\t1000/m, service.name);
    assert.match(status, /^CapEff:\t0{16}$/m, service.name);
  }
  await assert.rejects(stack.compose("exec", "-T", "order", "touch", "/app/x"), /Read-only file system/);

  say("an order completes");
  const first = await place(stack, "first");
  await completed(stack, first);

  say("an order waits for a service that is stopped, and completes when it is started");
  await stack.compose("stop", "fulfillment");
  const container = (await stack.compose("ps", "--all", "--quiet", "fulfillment")).trim();
  const exit = await stack.docker("inspect", "--format", "{{.State.ExitCode}}", container);
  assert.equal(exit.trim(), "0", "fulfillment was drained");
  const second = await place(stack, "second");
  await until("the charge", async () => (await read(stack, second)).state === "fulfilling", {
    timeoutMs: TIMEOUT_MS,
  });
  await stack.compose("start", "fulfillment");
  await completed(stack, second);

  say("state survives a restart of nats-server");
  const [before, stock] = [await read(stack, first), await soldStock(stack)];
  await stack.compose("stop", "nats");
  await stack.compose("start", "nats");
  await ready(stack);
  assert.deepEqual(await read(stack, first), before);
  assert.deepEqual(await readStock(stack), stock);
  // The same key is the same order.
  assert.equal(await place(stack, "first"), first);
  await completed(stack, await place(stack, "third"));
  const { available, sold } = await soldStock(stack);
  assert.deepEqual({ available, sold }, { available: stock.available - 1, sold: stock.sold + 1 });

  say("the registry compiles a schema, Prometheus reaches every service, PostgreSQL answers");
  await compiles(stack);
  await until("Prometheus' targets", () => scraped(stack), { timeoutMs: TIMEOUT_MS });
  await stack.compose("exec", "-T", "postgres", "pg_isready", "-h", "127.0.0.1", "-U", "shop");

  say("the operator's commands work from outside, and every ledger agrees");
  await reconcile(stack);
}

/** What is before the process's status, and the status. */
function split(shown: string): string[] {
  const at = shown.indexOf("Name:\t");
  return [shown.slice(0, at), shown.slice(at)];
}

/** Sends the order again and again until it is taken, as a client does; its key makes it one order. */
function place(stack: Stack, key: string): Promise<string> {
  return until(
    `order "${key}" to be taken`,
    async () => {
      const answer = await ask(`${stack.url("ORDER_PORT")}/orders`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": `smoke-${key}` },
        body: JSON.stringify(exampleOrder),
      });
      return answer?.status === 202 && ((await answer.json()) as Order).order_id;
    },
    { timeoutMs: TIMEOUT_MS },
  );
}

async function completed(stack: Stack, id: string): Promise<void> {
  await until(
    `order ${id} to complete`,
    async () => {
      const { state, history } = await read(stack, id);
      assert.notEqual(state, "cancelled", JSON.stringify(history));
      return state === "completed";
    },
    { timeoutMs: TIMEOUT_MS },
  );
}

function read(stack: Stack, id: string): Promise<Order> {
  return json(`${stack.url("ORDER_PORT")}/orders/${id}`) as Promise<Order>;
}

interface Stock {
  readonly available: number;
  readonly reserved: number;
  readonly sold: number;
}

/** What there is once no order holds any: inventory hears a moment later that one is completed. */
function soldStock(stack: Stack): Promise<Stock> {
  return until(
    "no order to hold any stock",
    async () => {
      const stock = await readStock(stack);
      return stock.reserved === 0 && stock;
    },
    { timeoutMs: TIMEOUT_MS },
  );
}

async function readStock(stack: Stack): Promise<Stock> {
  const { available, reserved, sold } = (await json(`${stack.url("INVENTORY_PORT")}/stock/mug`)) as Stock;
  return { available, reserved, sold };
}

async function ready(stack: Stack): Promise<void> {
  for (const { name, portVariable } of services) {
    const url = `${stack.url(portVariable)}/readyz`;
    await until(`${name} to be ready`, async () => (await ask(url))?.ok, { timeoutMs: TIMEOUT_MS });
  }
}

async function compiles(stack: Stack): Promise<void> {
  const register = (token: string) =>
    fetch(`${stack.url("REGISTRY_PORT")}/subjects/smoke/versions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({
        schemaType: "PROTOBUF",
        schema: 'syntax = "proto3"; message A { string b = 1; }',
      }),
    });
  assert.equal((await register("wrong")).status, 401);
  const answer = await register("dev");
  assert.equal(answer.status, 200, await answer.text());
}

async function scraped(stack: Stack): Promise<boolean> {
  const query = encodeURIComponent('sum(up{job="shop"})');
  const { data } = (await json(`${stack.url("PROMETHEUS_PORT")}/api/v1/query?query=${query}`)) as {
    data: { result: { value: [number, string] }[] };
  };
  return data.result[0]?.value[1] === `${services.length}`;
}

/** As docs/operations.md says. */
async function reconcile(stack: Stack): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "compose-smoke-"));
  try {
    const seed = join(folder, "operator.nk");
    await stack.compose("cp", "credentials:/credentials/operator/operator.nk", seed);
    await promisify(execFile)(process.execPath, [join(projectFolder, "ops", "main.ts"), "reconcile"], {
      env: {
        ...process.env,
        NATS_URL: stack.url("NATS_PORT").replace("http:", "nats:"),
        NATS_NKEY_FILE: seed,
      },
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function json(url: string): Promise<unknown> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}: ${await answer.text()}`);
  return answer.json();
}

/** Undefined if there is no answer. */
async function ask(url: string, request: RequestInit = {}): Promise<Response | undefined> {
  return fetch(url, request).catch(() => undefined);
}

const started = performance.now();

function say(line: string): void {
  console.log(`compose: ${Math.round((performance.now() - started) / 1000)} s: ${line}`);
}

// Whoever stops it finds everything taken down all the same.
const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => stop.abort(new Error(`Stopped by ${name}`)));
}

try {
  await main(stop.signal);
  say("done");
} catch (cause) {
  if (cause instanceof NoEngineError || stop.signal.aborted) console.error(String(cause));
  else console.error(cause);
  process.exitCode = 1;
}
