import { type ChildProcess, exec, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { services } from "../services/mod.ts";
import { freePorts, type OrderView, until } from "./support/mod.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const run = promisify(exec);

/** The shell blocks of a page. */
function commandsOf(page: string): string[] {
  return [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block.trim());
}

describe("every npm command that a document names", async () => {
  const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const pages = (await readdir(root, { recursive: true })).filter(
    (name) => name.endsWith(".md") && !name.includes("node_modules"),
  );

  it.each(pages)("exists: %s", async (page) => {
    const text = await readFile(join(root, page), "utf8");
    for (const [, name = ""] of text.matchAll(/\bnpm run ([a-z:]+)/g))
      expect(Object.keys(scripts)).toContain(name);
  });
});

/** Ten processes start at once, and one of them makes a database: seconds of CPU, on a machine that does other work as well. */
const READY_MS = 90_000;

describe("README.md, word for word but for the ports", () => {
  let shop: ChildProcess;
  let output = "";
  let commands: string[];
  let folder: string;
  let toFreePorts: (text: string) => string;
  /** By which `ops` finds this shop and no other. */
  let operator: NodeJS.ProcessEnv;

  beforeAll(async () => {
    commands = commandsOf(await readFile(join(root, "README.md"), "utf8"));
    folder = await mkdtemp(join(tmpdir(), "readme-test-"));
    const ports = await freePorts(services.length + 2);
    const environment: Record<string, string> = {
      NATS_PORT: String(ports.pop()),
      NATS_MONITOR_PORT: String(ports.pop()),
    };
    operator = { ...process.env, NATS_URL: `nats://127.0.0.1:${environment.NATS_PORT}`, DATA_DIR: folder };
    for (const [index, { portVariable }] of services.entries())
      environment[portVariable] = String(ports[index]);
    toFreePorts = (text) =>
      services.reduce(
        (changed, { port }, index) => changed.replaceAll(`:${port}/`, `:${ports[index]}/`),
        text,
      );
    shop = spawn("sh", ["-c", `exec ${commands[0]}`], {
      cwd: root,
      env: { ...process.env, ...environment, DATA_DIR: folder },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [shop.stdout, shop.stderr]) stream?.on("data", (data) => (output += data));
    await until("the shop to open", () => output.includes("Ctrl-C stops"), { timeoutMs: READY_MS });
  });
  afterAll(async () => {
    if (shop.exitCode === null) shop.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });

  /** Runs a curl and follows its order to the end. */
  async function follow(curl: string): Promise<OrderView> {
    const { stdout } = await run(curl, { cwd: root });
    expect(stdout).toMatch(/^HTTP\/1\.1 202 Accepted/);
    const [, path] = /^location: (\S+)/im.exec(stdout) ?? [];
    const origin = /http:\/\/[^/]+/.exec(curl)?.[0];
    return until("the order to be completed", async () => {
      const order = (await (await fetch(`${origin}${path}`)).json()) as OrderView;
      return order.state === "completed" && order;
    });
  }

  it("begins with npm start", () => expect(commands[0]).toBe("npm start"));

  it("takes the order that it shows", async () => {
    const curl = commands.find((command) => command.includes("/orders")) ?? "";
    const order = await follow(toFreePorts(curl));
    expect(order.history.map(({ state }) => state).join(" ")).toBe(
      "created reserving screening charging fulfilling completed",
    );
  });

  it("takes the order that npm start prints", async () => {
    const [curl = ""] = /^curl -i [\s\S]*?[^\\]$/m.exec(output) ?? [];
    await follow(curl);
  });

  it("shows the review queue, and takes a decision", async () => {
    const curl = commands.find((command) => command.includes("/orders")) ?? "";
    const flagged = curl
      .replace("12 High Street", "1 Freight Forwarding Way")
      .replace("my-first-order", "flagged");
    const { stdout: placed } = await run(toFreePorts(flagged));
    const [id = ""] = /ord_[0-9a-f-]+/.exec(placed) ?? [];
    const queue = commands.find((command) => command.includes("/reviews -H")) ?? "";
    await until("the review", async () => (await run(toFreePorts(queue))).stdout.includes(id));
    const choice = commands.find((command) => command.startsWith("ORDER=")) ?? "";
    const { stdout: chosen } = await run(`${choice}\necho $ORDER`, { cwd: root, env: operator });
    expect(chosen).toBe(`${id}\n`);
    const decision = commands.find((command) => command.includes("/decision")) ?? "";
    const { stdout } = await run(toFreePorts(decision), { env: { ...process.env, ORDER: id } });
    expect(JSON.parse(stdout)).toMatchObject({ order_id: id, status: "approved" });
  });

  it(
    "counts the orders",
    async () => {
      const curl = toFreePorts(commands.find((command) => command.includes("/summary")) ?? "");
      // It only looks on: the shop opens without it.
      await until("analytics", () => output.includes("analytics is ready"), { timeoutMs: READY_MS });
      const isCounted = async () => JSON.parse((await run(curl)).stdout).orders.completed > 0;
      await until("one to be counted as completed", isCounted, { timeoutMs: READY_MS });
    },
    2 * READY_MS,
  );

  it("is found by the operator's commands, which are told its folder and nothing else", async () => {
    const { stdout } = await run("node ops/main.ts lag --json", {
      cwd: root,
      env: { PATH: process.env.PATH, DATA_DIR: folder },
    });
    expect(JSON.parse(stdout).services.length).toBeGreaterThan(0);
  });

  it("restocks", async () => {
    const curl = commands.find((command) => command.includes("/stock/last-one")) ?? "";
    const { stdout } = await run(toFreePorts(curl));
    expect(JSON.parse(stdout)).toMatchObject({ sku: "last-one", available: 1 });
  });

  it("stops with exit code 0, and no process is left", async () => {
    const gone = new Promise((resolve) => shop.once("exit", resolve));
    shop.kill("SIGINT");
    expect(await gone).toBe(0);
    const { stdout } = await run("ps -eo args");
    expect(stdout.split("\n").filter((line) => line.includes(folder))).toEqual([]);
  });
});
