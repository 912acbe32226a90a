import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { services } from "../services/mod.ts";
import { exampleOrder } from "../tools/example_order.ts";
import { projectFolder } from "../tools/nats_server.mjs";
import { freePorts, loopback } from "../tools/ports.ts";
import { portUses } from "../tools/processes.ts";
import { scratchFolder } from "../tools/testdata/scratch.ts";
import { keepCoresBusy } from "./support/busy.ts";
import { until } from "./support/mod.ts";

/** `npm start` as it is, in a process of its own. */
function start(
  dataDir: string,
  {
    ports,
    env = {},
    prefix = [],
  }: { ports: Ports; env?: Record<string, string>; prefix?: readonly string[] },
) {
  const [command = "", ...args] = [...prefix, process.execPath, join(projectFolder, "tools", "start.ts")];
  const variables = Object.entries(ports).map(([variable, port]) => [variable, `${port}`]);
  const child = spawn(command, args, {
    env: { ...process.env, ...Object.fromEntries(variables), DATA_DIR: dataDir, LOG_LEVEL: "warn", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      output += text;
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return {
    output: () => output,
    /** Resolves when it has said `text`. */
    async says(text: string | RegExp): Promise<void> {
      await until(
        `"${text}" to be said`,
        async () => {
          if (child.exitCode !== null) throw new Error(`It ended with ${child.exitCode}: ${output}`);
          return typeof text === "string" ? output.includes(text) : text.test(output);
        },
        { timeoutMs: 150_000 },
      );
    },
    async stop(): Promise<number | null> {
      child.kill("SIGINT");
      return ended;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

type Ports = Readonly<Record<string, number>>;

async function choosePorts(): Promise<Ports> {
  const uses = portUses(services);
  const free = await freePorts(uses.length);
  return Object.fromEntries(uses.map(({ variable }, i) => [variable, free[i] as number]));
}

/** Nothing listens there. */
const withoutDatabase = { DATABASE_URL: `postgresql://shop@${loopback}:1/shop` };

const ordersUrl = (ports: Ports) => `http://${loopback}:${ports.ORDER_PORT}/orders`;

async function place(ports: Ports): Promise<string> {
  const answer = await fetch(ordersUrl(ports), {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": randomUUID() },
    body: JSON.stringify(exampleOrder),
  });
  expect(answer.status).toBe(202);
  return ((await answer.json()) as { order_id: string }).order_id;
}

async function reaches(ports: Ports, { order, state }: { order: string; state: string }): Promise<void> {
  await until(`${order} to be ${state}`, async () => {
    const answer = await fetch(`${ordersUrl(ports)}/${order}`);
    return ((await answer.json()) as { state: string }).state === state;
  });
}

/** A command of the operator that knows no more than the folder. */
async function ops(dataDir: string, command: string) {
  const { output, text } = collect();
  const code = await runOps(command.split(" "), { output, environment: { DATA_DIR: dataDir } });
  return { code, ...text() };
}

describe("npm start", () => {
  it("opens with a fault that stands and without analytics' database, and says what to do", {
    timeout: 240_000,
  }, async () => {
    using folder = scratchFolder();
    const ports = await choosePorts();
    {
      await using first = start(folder.path, { ports });
      await first.says("The shop is open.");
      expect(first.output()).not.toContain("Set to go wrong:");
      expect(await ops(folder.path, "fault set inventory.down")).toMatchObject({ code: 0, err: "" });
      expect(await first.stop()).toBe(0);
    }
    const gone = await ops(folder.path, "fault list");
    expect(gone.code).toBe(1);
    expect(gone.err).toContain(`no shop runs on ${folder.path}`);

    await using second = start(folder.path, { ports, env: withoutDatabase });
    const command = "fault clear inventory.down";
    await second.says(`inventory.down=on; to end it: DATA_DIR=${folder.path} npm run ops -- ${command}`);
    const order = await place(ports);
    await reaches(ports, { order, state: "reserving" });
    expect(await ops(folder.path, command)).toMatchObject({ code: 0, err: "" });
    await reaches(ports, { order, state: "completed" });
    await second.says(
      /analytics is not ready after \d+ s: it waits for [\w, ]*\bdatabase\b[\w, ]*; no order does\n/,
    );
    expect(await second.stop()).toBe(0);
  });

  it("opens on busy cores while analytics has no database, and says so", { timeout: 240_000 }, async () => {
    using folder = scratchFolder();
    using busy = keepCoresBusy();
    const ports = await choosePorts();
    await using shop = start(folder.path, { ports, env: withoutDatabase, prefix: busy.prefix });
    await shop.says("The shop is open.");
    const order = await place(ports);
    await reaches(ports, { order, state: "completed" });
    // It comes last where the cores are busy, and may not have got as far as its database.
    await shop.says(/analytics is not ready after \d+ s: it waits for .*; no order does\n/);
    await shop.says("monitor is ready");
    expect(await shop.stop()).toBe(0);
  });
});
