import { type ChildProcess, exec, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts, type OrderView, openShop, type TestShop, until } from "./support/mod.ts";

// docs/schemas.md, word for word but for ports and folders.

const root = fileURLToPath(new URL("../", import.meta.url));
let shop: TestShop;
let folder: string;
let orderPort: number;
/** Those that are not run yet. */
let commands: string[];
/** Services that run by hand. */
const running: ChildProcess[] = [];

beforeAll(async () => {
  const page = await readFile(join(root, "docs/schemas.md"), "utf8");
  commands = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block.trim());
  folder = await mkdtemp(join(tmpdir(), "schemas-page-"));
  [orderPort = 0] = await freePorts(1);
  expect(commands.shift()).toBe("npm start");
  shop = await openShop();
}, 90_000);
afterAll(async () => {
  for (const process of running) process.kill("SIGKILL");
  await shop[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function here(command: string): string {
  return command
    .replaceAll("../colleague", join(folder, "colleague"))
    .replaceAll(".data/", `${shop.folder}/`)
    .replaceAll("nats://127.0.0.1:4222", shop.shop.natsUrl)
    .replaceAll("http://127.0.0.1:8081", shop.shop.url("registry"))
    .replaceAll("8180", String(orderPort));
}

const env = () => ({ ...process.env, DATA_DIR: shop.folder, NATS_URL: shop.shop.natsUrl, NO_COLOR: "1" });

/** The next command of the page, which has to begin as the test expects, and what comes of it. */
async function next(beginning: string): Promise<{ code: number; output: string }> {
  const command = commands.shift() ?? "";
  expect(command.slice(0, beginning.length)).toBe(beginning);
  const ran = promisify(exec)(here(command), { cwd: root, env: env(), timeout: 120_000 });
  return ran.then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    ({ code, stdout, stderr }) => ({ code, output: stdout + stderr }),
  );
}

/** The next command, which runs until it is stopped or ends by itself; resolves when it is ready or has ended. */
async function nextService(
  beginning: string,
): Promise<{ output: () => string; stop: () => Promise<unknown> }> {
  const command = commands.shift() ?? "";
  expect(command.slice(0, beginning.length)).toBe(beginning);
  const child = spawn(
    "sh",
    ["-c", here(command).replace("node_modules/.bin/node", "exec node_modules/.bin/node")],
    {
      cwd: root,
      env: env(),
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  running.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (output += data));
  const gone = new Promise((resolve) => child.once("exit", resolve));
  await until(
    "the service to be ready or gone",
    async () => {
      if (child.exitCode !== null) return true;
      return (await fetch(`http://127.0.0.1:${orderPort}/readyz`).catch(() => ({ ok: false }))).ok;
    },
    { timeoutMs: 60_000 },
  );
  return {
    output: () => output,
    stop: async () => {
      child.kill("SIGINT");
      return gone;
    },
  };
}

const service = "NATS_URL=";

describe("docs/schemas.md", { timeout: 240_000 }, () => {
  it("changes order.created the right way", async () => {
    expect(await next("git clone -q . ../colleague")).toMatchObject({ code: 0 });
    const gate = await next("cd ../colleague && git apply docs/schemas/right_way.patch");
    expect(gate.output).toContain("Nothing breaks");
    expect(gate.code).toBe(0);
    await shop.ends(await shop.place());

    const preview = await next("npm run ops -- schema check ../colleague/proto");
    expect(preview.output).toContain("FIELD_ADDED at #/OrderCreated/5");
    expect(preview.output).toMatch(/retained +1 +schema \d+, version 1 +can be read/);
    expect(preview.output).toContain("1 subject would change, none would be refused");
    expect(preview.code).toBe(0);

    const second = await nextService(service);
    expect((await next("curl -s http://127.0.0.1:8081/subjects/order.created/versions")).output).toBe(
      "[1,2]",
    );
    const placed = JSON.parse((await next("curl -s http://127.0.0.1:8180/orders")).output) as OrderView;
    expect((await shop.ends(placed.order_id)).state).toBe("completed");
    expect(await second.stop()).toBe(0);
  });

  it("changes it the wrong way, and is refused three times", async () => {
    expect(await next("cd ../colleague && git checkout -q . && git apply")).toMatchObject({ code: 0 });
    const lint = await next("npm run --prefix ../colleague buf:lint");
    expect(lint.output).toContain('Field named "shipping_priority" should not be required');
    expect(lint.code).not.toBe(0);
    const breaking = await next("npm run --prefix ../colleague buf:breaking");
    expect(breaking.output).toContain("order.created: ");
    expect(breaking.output).toContain("REQUIRED_FIELD_ADDED at #/OrderCreated/5");
    expect(breaking.output).toContain("read by coordinator, notification");
    expect(breaking.code).toBe(1);
    const preview = await next("npm run ops -- schema check");
    expect(preview.output).toContain("stranded: cannot be read");
    expect(preview.code).toBe(1);

    const refused = await nextService(service);
    expect(refused.output()).toContain("Cannot start order: its schemas would break others");
    expect(refused.output()).toContain("read by coordinator, notification");
    const { body: versions } = await shop.call("registry", "/subjects/order.created/versions");
    expect(versions).toEqual([1, 2]);

    const off = await nextService("SCHEMA_GATE=off");
    expect(off.output()).toContain("SCHEMA_GATE=off: order.created: BACKWARD_TRANSITIVE");
    const placed = JSON.parse((await next("curl -s http://127.0.0.1:8180/orders")).output) as OrderView;
    expect(placed.state).toBe("created");
    await until("both consumers to park it", async () => {
      const headers = { authorization: "Bearer dev" };
      const { body } = await shop.call<{ dead_letters: unknown[] }>("monitor", "/dead-letters", { headers });
      return body.dead_letters.length === 2;
    });
    const letters = await next("npm run ops -- dead-letters list");
    expect(letters.output).toContain("unreadable: schema");
    expect(await off.stop()).toBe(0);
    expect((await shop.ends(await shop.place())).state).toBe("completed");
  });

  it("has no other command", () => expect(commands).toEqual([]));
});
