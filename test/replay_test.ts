import { type ChildProcess, spawn } from "node:child_process";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { consumerConfig, topology } from "../nats/mod.ts";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { SECRET_KEY, StripeStandIn } from "../services/payment/stripe_stand_in.ts";
import { environment, kinds, stock } from "./faults/orders.ts";
import {
  auditLedgers,
  openShop,
  openStreams,
  readLedgers,
  type Streams,
  sentMails,
  type TestShop,
  until,
} from "./support/mod.ts";

let provider: StripeStandIn;
let shop: TestShop;
let streams: Streams;
beforeAll(async () => {
  provider = new StripeStandIn();
  shop = await openShop({
    ...environment,
    STRIPE_SECRET_KEY: SECRET_KEY,
    STRIPE_API_BASE: await provider.listen(),
  });
  streams = await openStreams(shop.shop.operator);
});
afterAll(async () => {
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

const accepted: { id: string; ends: readonly string[] }[] = [];
/** Services whose consumers are reset by a replay. */
const replayed = [
  ...new Set(
    topology.consumers.filter(({ projection }) => projection !== true).map(({ service }) => service),
  ),
];
/** A pause that is waited out. Three quarters of it have to be enough for the 7 s that a replay waits. */
const SHORT_PAUSE_MS = 16_000;
const withEffects = ["payment", "fulfillment", "notification"];

function opsEnvironment() {
  return { NATS_URL: shop.shop.natsUrl, DATA_DIR: shop.folder, USER: "eve" };
}

async function ops(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { output, text } = collect();
  const interrupted = () => new AbortController().signal;
  const code = await runOps(args, { output, environment: opsEnvironment(), interrupted });
  return { code, ...text() };
}

/** Starts one order of each kind, the tokens being those of the provider. */
function placeAll(): Promise<string[]> {
  return Promise.all(
    kinds.map(async ({ changes, ends, cancels = false }) => {
      const { payment_token: token } = changes;
      const payment_token = token === "tok_declined" ? "pm_declined" : "pm_card_visa";
      const id = await shop.place({ ...changes, payment_token });
      accepted.push({ id, ends });
      if (cancels) await shop.call("order", `/orders/${id}/cancel`, { method: "POST" });
      return id;
    }),
  );
}

const mailFolder = () => join(shop.folder, "mail");

/** What has left the shop, and what the ledgers say of it. */
async function effects() {
  const { captures, refunds } = provider;
  return {
    requests: provider.requests.filter(({ method }) => method === "POST").length,
    captures: captures.length,
    refunds: refunds.length,
    mails: (await sentMails(mailFolder())).sort(),
    ledgers: await streams.lastSequences(),
  };
}

async function auditAll(): Promise<string[]> {
  const mails = await sentMails(mailFolder());
  return auditLedgers(await readLedgers(streams.jsm), { accepted, stock, mails });
}

/** Every consumer of these services is set back, by hand. */
async function resetByHand(services: readonly string[]): Promise<void> {
  for (const { stream, service } of topology.consumers) {
    if (services.includes(service)) await streams.jsm.consumers.reset(stream, service, 1);
  }
}

// One shop for all. The last test is one after which its books are no longer balanced.
describe("ops replay", { timeout: 120_000 }, () => {
  it("delivers everything again from the start, and nothing is captured, refunded, shipped, mailed or stored again", async () => {
    for (const id of await placeAll()) await shop.ends(id);
    await streams.quiet();
    expect(await auditAll()).toEqual([]);
    const before = await effects();
    expect(before.captures).toBeGreaterThan(4);
    expect(before.refunds).toBeGreaterThan(0);
    const delivered = await deliveredTo("payment");

    const all = await Promise.all(replayed.map((name) => ops("replay", name, "--from", "start")));
    for (const { code, err } of all) expect(code, err).toBe(0);
    await streams.quiet();

    expect(await effects()).toEqual(before);
    expect(await auditAll()).toEqual([]);
    expect(await ops("reconcile", "--json")).toMatchObject({ code: 0 });
    expect(await deliveredTo("payment")).toEqual({ ...delivered, replayed: delivered.done });
  });

  it("touches no order that is under way: each is done once", async () => {
    const running = Promise.all(replayed.map((name) => ops("replay", name, "--from", "start")));
    const placed: string[] = [];
    let over = false;
    void running.finally(() => {
      over = true;
    });
    while (!over) {
      placed.push(...(await placeAll()));
      await new Promise((resolve) => setTimeout(resolve, 1_500));
    }
    for (const { code, err } of await running) expect(code, err).toBe(0);
    for (const id of placed) await shop.ends(id);
    await streams.quiet();
    expect(placed.length).toBeGreaterThan(kinds.length);
    expect(await auditAll()).toEqual([]);
    expect(new Set(provider.captures.map(({ form }) => form.get("metadata[order_id]"))).size).toBe(
      provider.captures.length,
    );
    expect(await ops("reconcile", "--json")).toMatchObject({ code: 0 });
  });

  it("may be killed after each of its steps: a pause ends by itself, nothing is lost, nothing is done twice", async () => {
    await streams.quiet();
    const before = await effects();
    const program = fileURLToPath(new URL("support/ops_program.ts", import.meta.url));
    const { PATH, NODE_COMPILE_CACHE } = process.env;
    const options = () => ({
      env: { PATH, NODE_COMPILE_CACHE, ...opsEnvironment() },
      stdio: ["ignore", "ignore", "pipe"] as ["ignore", "ignore", "pipe"],
    });
    const steps = [
      { stream: "CHECKOUT", service: "payment", after: /^paused/m },
      { stream: "CHECKOUT", service: "fulfillment", after: /is a replay/ },
      { stream: "CHECKOUT", service: "notification", after: /^waiting 7 s/m },
      { stream: "ORDER", service: "notification", after: /: reset to 1/ },
    ];
    const killed = steps.map(async ({ stream, service, after }) => {
      const args = ["replay", `${stream}/${service}`, "--from", "1"];
      await killAt(
        () => spawn(process.execPath, [program, String(SHORT_PAUSE_MS), ...args], options()),
        after,
      );
      const info = await streams.jsm.consumers.info(stream, service);
      const left = (info as unknown as { pause_remaining?: number }).pause_remaining ?? 0;
      expect(left / 1e6).toBeLessThanOrEqual(SHORT_PAUSE_MS);
      const { code, err } = await ops(...args);
      // Once it is reset, all is still to come, or comes once more, whether it was killed before or after it went on.
      if (after.source.includes("reset")) expect(code, err).toBe(0);
      else expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("it is paused until") });
    });
    await Promise.all(killed);
    const ids = await placeAll();
    await until(
      "every pause to end",
      async () => {
        const infos = await Promise.all(
          steps.map(({ stream, service }) => streams.jsm.consumers.info(stream, service)),
        );
        return infos.every(({ paused }) => paused !== true);
      },
      { timeoutMs: SHORT_PAUSE_MS + 10_000 },
    );
    for (const id of ids) await shop.ends(id);
    await streams.quiet();
    expect(await auditAll()).toEqual([]);
    expect(provider.captures.length).toBeGreaterThan(before.captures);
    expect(new Set(provider.captures.map(({ form }) => form.get("metadata[order_id]"))).size).toBe(
      provider.captures.length,
    );
  });

  it("leaves every consumer as the topology has it", async () => {
    for (const spec of topology.consumers) {
      const { config } = await streams.jsm.consumers.info(spec.stream, spec.service);
      const { durable_name, filter_subjects, deliver_policy } = consumerConfig(spec);
      expect(config).toMatchObject({ durable_name, deliver_policy });
      expect(config.filter_subjects ?? [config.filter_subject]).toEqual(filter_subjects);
    }
  });

  it("does what docs/operations.md says", async () => {
    const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
    const [, section = ""] = /^## Replay\n([\s\S]*?)^## /m.exec(page) ?? [];
    const commands = [...section.matchAll(/^npm run ops -- (replay .*)$/gm)].map(([, args = ""]) => args);
    expect(commands).toHaveLength(3);
    const ended = await Promise.all(commands.map((command) => ops(...command.split(" "))));
    for (const { code, err } of ended) expect(code, err).toBe(0);
  });

  it("skips by its mark, though what the ledgers say of an order is gone; by the state alone there would be a second capture, parcel and mail", async () => {
    const { id } = accepted.find(({ ends }) => ends.includes("completed")) ?? { id: "" };
    await streams.quiet();
    const stop = () => Promise.all(withEffects.map((name) => shop.shop.stop(name)));
    const start = () => Promise.all(withEffects.map((name) => shop.shop.start(name)));
    const forget = async (stream: string) => {
      const filter = `*.*.${id}`;
      const { subjects = {} } = (await streams.jsm.streams.info(stream, { subjects_filter: filter })).state;
      for (const subject of [...Object.keys(subjects), `${filter}.*`])
        await streams.jsm.streams.purge(stream, { filter: subject });
    };
    const about = async () => (await streams.messagesOf(id)).map(({ subject }) => subject).sort();
    await stop();
    await Promise.all(["PAYMENT", "FULFILLMENT", "NOTIFICATION"].map(forget));
    // Nor do those outside remember anything.
    provider.forgetKeys();
    for (const name of await readdir(mailFolder())) await rm(join(mailFolder(), name));
    await start();
    const before = { ...(await effects()), about: await about() };
    const marked = await Promise.all(withEffects.map((name) => ops("replay", name, "--from", "start")));
    for (const { code, err } of marked) expect(code, err).toBe(0);
    await streams.quiet();
    expect({ ...(await effects()), about: await about() }).toEqual(before);

    // What a process has read of marks is gone with it.
    await stop();
    await streams.jsm.streams.purge("KV_REPLAYS");
    await resetByHand(withEffects);
    await start();
    await streams.quiet();
    const again = await about();
    expect(provider.captures.length).toBe(before.captures + 1);
    for (const subject of ["payment.captured", "fulfillment.shipped", "notification.mail"]) {
      expect(again.some((it) => it.startsWith(subject))).toBe(true);
      expect(before.about.some((it) => it.startsWith(subject))).toBe(false);
    }
    expect(await sentMails(mailFolder())).toHaveLength(2);
  });
});

/** Deliveries that a service says it has dealt with, by outcome. */
async function deliveredTo(service: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${shop.shop.url(service)}/metrics`)).text();
  const found: Record<string, number> = {};
  for (const [, outcome = "", count] of text.matchAll(
    /^shop_delivery_duration_seconds_count\{.*outcome="(\w+)".*\} (\d+)$/gm,
  ))
    found[outcome] = (found[outcome] ?? 0) + Number(count);
  return found;
}

/**
 * SIGKILL as soon as the process has said `what`. On a busy machine it may give up before it is connected, or before the
 * reset, as the pause is nearly over.
 */
async function killAt(start: () => ChildProcess, what: RegExp): Promise<void> {
  let said = "";
  do {
    said = "";
    const child = start();
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.stderr?.on("data", (data) => {
      said += data;
      if (what.test(said)) child.kill("SIGKILL");
    });
    await gone;
  } while (/^Cannot reach NATS|it stood still for too long/m.test(said));
  expect(said).toMatch(what);
}
