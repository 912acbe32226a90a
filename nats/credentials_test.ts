import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescFile } from "@bufbuild/protobuf";
import { headers, type NatsConnection, PermissionViolationError } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { applyTopology, consumerConfig } from "./apply.ts";
import { commit, newHeaders } from "./commit.ts";
import { readSeed, seedFile, writeCredentials } from "./credential_files.ts";
import { authorizationBlock, inboxOf, OPERATOR, permissionsOf } from "./credentials.ts";
import { registrationKeys } from "./registry/keys.ts";
import { globalSettingsKey, SCHEMAS, SCHEMAS_STREAM, settingsKey, subjectKey } from "./registry/mod.ts";
import { publishedBy, servicesOf, type Topology, topology, workingConsumers } from "./topology.ts";

const services = servicesOf(topology);
const { streams, consumers, views = [] } = topology;
let folder: string;
let server: NatsServer;
let operator: Client;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "credentials-test-"));
  const files = writeCredentials(folder);
  const authorization = await readFile(files.authorization, "utf8");
  server = await startNats({
    configure: (text) => `${text}\n${authorization}`,
    access: { nkeyFile: files.operator },
  });
  await applyTopology({ servers: server.url, nkeyFile: files.operator });
  operator = await server.connect("operator");
  // Something in each stream that one could read, move, or wipe.
  for (const { name, prefix } of streams)
    await operator.js.publish(`${prefix}.secret.x`, "x", expecting(name));
}, 60_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const expecting = (streamName: string) => ({ expect: { streamName } });

function as(service: string): Promise<Client> {
  return server.connect(service, {
    nkeyFile: seedFile(folder, service),
    inboxPrefix: inboxOf(service),
  });
}

/** All that a service could change or move, as the operator sees it. */
async function everything(): Promise<unknown> {
  const { jsm } = operator;
  return Promise.all(
    (await jsm.streams.list().next()).map(async ({ config, state }) => ({
      config,
      state: { ...state, lost: undefined },
      consumers: (await jsm.consumers.list(config.name).next()).map((info) => ({
        config: info.config,
        delivered: info.delivered,
        ack_floor: info.ack_floor,
        num_ack_pending: info.num_ack_pending,
        num_waiting: info.num_waiting,
      })),
    })),
  );
}

/** Of these subjects, those that the server let pass. */
async function allowed(
  connection: NatsConnection,
  operation: "publish" | "subscription",
  subjects: readonly string[],
): Promise<string[]> {
  const denied = new Set<string>();
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== "error" || !(status.error instanceof PermissionViolationError)) continue;
      if (status.error.operation === operation) denied.add(status.error.subject);
    }
  })();
  const rollup = headers();
  rollup.set("Nats-Rollup", "all");
  for (const subject of subjects) {
    if (operation === "publish") connection.publish(subject, "{}", { headers: rollup });
    else connection.subscribe(subject, { callback: () => undefined });
  }
  await connection.flush();
  const passed = () => subjects.filter((subject) => !denied.has(subject));
  // The server's answers are here; the client tells of them a moment later, and if not, they were none.
  await until("refusals to be told", () => passed().length === 0, { timeoutMs: 1_000 }).catch(
    () => undefined,
  );
  return passed();
}

const manage = (stream: string) => [
  ...["CREATE", "UPDATE", "DELETE", "PURGE", "SNAPSHOT", "RESTORE", "PEER.REMOVE", "LEADER.STEPDOWN"].map(
    (verb) => `$JS.API.STREAM.${verb}.${stream}`,
  ),
  `$JS.API.STREAM.MSG.DELETE.${stream}`,
  `$JS.API.CONSUMER.CREATE.${stream}`,
  ...["CREATE", "DURABLE.CREATE", "DELETE", "PAUSE", "UNPIN", "RESET", "LEADER.STEPDOWN"].flatMap((verb) =>
    ["mine", ...services].map((consumer) => `$JS.API.CONSUMER.${verb}.${stream}.${consumer}`),
  ),
];

/** All that belongs to others or to the operator, written down from the rules and not from the permissions. */
function foreignPublishes(me: string): string[] {
  const view = (stream: string) => views.find((spec) => spec.service === me && spec.stream === stream);
  // Who keeps the position of a consumer itself may set it back to that, and no other one.
  const cursors = new Set(
    consumers
      .filter(({ service, projection }) => service === me && projection === true)
      .map(({ stream }) => `$JS.API.CONSUMER.RESET.${stream}.${me}`),
  );
  return [
    ...streams.flatMap(({ name }) => manage(name)).filter((subject) => !cursors.has(subject)),
    ...streams
      .filter(({ owner, writers = [] }) => owner !== me && !writers.includes(me))
      .flatMap(({ prefix }) => [prefix, `${prefix}.secret.x`, `${prefix}.${me}`, `${prefix}.a.b.c`]),
    ...streams
      .filter(({ owner, writers = [] }) => owner === undefined && !writers.includes(me))
      .flatMap(({ prefix }) => services.filter((it) => it !== me).map((it) => `${prefix}.${it}.S.1`)),
    ...streams
      .filter(({ owner }) => owner !== me)
      .flatMap(({ name }) => [
        `$JS.API.STREAM.MSG.GET.${name}`,
        ...(view(name)?.info ? [] : [`$JS.API.STREAM.INFO.${name}`]),
        ...(view(name)?.messages
          ? []
          : [`$JS.API.DIRECT.GET.${name}`, `$JS.API.DIRECT.GET.${name}.${name.toLowerCase()}.secret.x`]),
      ]),
    ...consumers
      .filter(({ service }) => service !== me)
      .flatMap(({ stream, service }) => [
        `$JS.API.CONSUMER.MSG.NEXT.${stream}.${service}`,
        `$JS.ACK.${stream}.${service}.1.1.1.1.0`,
        ...(view(stream)?.positions === "all" || view(stream)?.positions?.includes(service)
          ? []
          : [`$JS.API.CONSUMER.INFO.${stream}.${service}`]),
      ]),
    ...foreignKeys(me),
    ...manage("KV_REPLAYS"),
    ...consumers.map(({ stream, service }) => `$KV.REPLAYS.${stream}.${service}`),
    ...services.filter((it) => it !== me).map((it) => `${inboxOf(it)}.guess`),
    ..."$JS.API.INFO $JS.API.STREAM.LIST $JS.API.STREAM.NAMES $JS.API.META.LEADER.STEPDOWN".split(" "),
    ..."$SYS.REQ.SERVER.PING $KV.x.y _INBOX.guess watch.checkout.state.o1 anything.else".split(" "),
  ];
}

/** Of the registry's bucket: how it is managed, what is compatible, and the subjects of what others store. */
function foreignKeys(me: string): string[] {
  const stream = SCHEMAS_STREAM;
  if (me === "registry") return manage(stream);
  const own = new Set(
    publishedBy(me).flatMap(({ subject, schema }) => [subject, ...importPaths(schema.file)]),
  );
  const others = (topology.contracts ?? []).filter(({ subject }) => !own.has(subject));
  return [
    ...manage(stream),
    `$JS.API.STREAM.INFO.${stream}`,
    `$KV.${SCHEMAS}`,
    globalSettingsKey.subject,
    ...[...own, "any"].map((subject) => settingsKey(subject).subject),
    ...["any", ...others.map(({ subject }) => subject)].map((subject) => subjectKey(subject).subject),
  ];
}

function importPaths(file: DescFile): string[] {
  return file.dependencies.flatMap((imported) => [imported.proto.name, ...importPaths(imported)]);
}

function foreignSubscriptions(me: string): string[] {
  const watches = views.some((spec) => spec.service === me && spec.watched);
  return [
    ...streams.map(({ prefix }) => `${prefix}.>`),
    ...services.filter((it) => it !== me).map((it) => `${inboxOf(it)}.>`),
    ...(watches ? [] : ["watch.checkout.state.*", "watch.checkout.state.o1"]),
    ..."> *.> _INBOX.> $JS.> $JS.ACK.> $JS.API.> $JS.EVENT.> $SYS.> watch.> watch.checkout.>".split(" "),
  ];
}

describe("the server", () => {
  it("lets nobody in without a credential, or with one that it does not know", async () => {
    const strange = join(folder, "elsewhere");
    writeCredentials(strange);
    for (const nkeyFile of [undefined, seedFile(strange, OPERATOR)]) {
      await expect(server.connect("stranger", { nkeyFile })).rejects.toThrow("Authorization Violation");
    }
  });

  it("has no rollups where several services write", async () => {
    const rollup = headers();
    rollup.set("Nats-Rollup", "all");
    const { connection } = await as("payment");
    const answer = await connection.request("dead_letter.payment.a.B.1", "", {
      headers: rollup,
      timeout: 5_000,
    });
    expect(answer.json()).toMatchObject({ error: { description: "rollup not permitted" } });
  });
});

describe.each(services)("the credential of %s", (me) => {
  it("is denied whatever belongs to others or to the operator, and nothing has changed", async () => {
    const { connection } = await as(me);
    const before = await everything();
    const publishes = foreignPublishes(me);
    expect(publishes.length).toBeGreaterThan(400);
    expect(await allowed(connection, "publish", publishes)).toEqual([]);
    expect(await allowed(connection, "subscription", foreignSubscriptions(me))).toEqual([]);
    expect(await everything()).toEqual(before);
  });

  const ledger = streams.find(({ owner }) => owner === me);
  if (ledger !== undefined)
    it("writes and reads its own ledger, and sees its settings", async () => {
      const { name, prefix } = ledger;
      const { connection, jsm } = await as(me);
      const data = new TextEncoder().encode("mine");
      const entries = ["a", "b"].map((id) => ({
        subject: `${prefix}.try.${id}`,
        data,
        headers: newHeaders(),
      }));
      expect(await commit(connection, name, entries)).toMatchObject({ kind: "committed" });
      const last = { last_by_subj: `${prefix}.try.b` };
      expect((await jsm.streams.getMessage(name, last))?.string()).toBe("mine");
      expect((await jsm.direct.getMessage(name, last))?.string()).toBe("mine");
      expect((await jsm.streams.info(name)).config.name).toBe(name);
    });

  const [published] = publishedBy(me);
  if (published !== undefined)
    it("registers the schemas of what it stores", async () => {
      const { connection } = await as(me);
      const keys = registrationKeys(publishedBy(me)).map((key) => key.replace("*", `try-${me}`));
      for (const subject of keys) {
        const entry = { subject, data: new Uint8Array(), headers: newHeaders() };
        expect(await commit(connection, SCHEMAS_STREAM, [entry])).toMatchObject({ kind: "committed" });
      }
    });

  it("parks dead letters of its own", async () => {
    const { js } = await as(me);
    const sent = await js.publish(`dead_letter.${me}.${me}.TRY.1`, "x", expecting("DEAD_LETTER"));
    expect(sent).toMatchObject({ stream: "DEAD_LETTER" });
  });

  it.each(consumers.filter(({ service }) => service === me))(
    "takes from $stream and acknowledges",
    async (spec) => {
      const [filter = ""] = consumerConfig(spec).filter_subjects ?? [];
      const subject = filter.replace(">", `try-${me}`);
      await operator.js.publish(subject, "for you", expecting(spec.stream));
      const { js } = await as(me);
      const consumer = await js.consumers.get(spec.stream, me);
      for (;;) {
        const msg = await consumer.next({ expires: 5_000 });
        expect(msg).not.toBeNull();
        expect(await msg?.ackAck()).toBe(true);
        if (msg?.subject === subject) break;
      }
    },
  );
});

describe("what order views", () => {
  it("is the coordinator's state and position, and each transition as it is stored", async () => {
    const { connection, jsm } = await as("order");
    const seen: string[] = [];
    connection.subscribe("watch.checkout.state.o1", { callback: (_, msg) => void seen.push(msg.string()) });
    await connection.flush();
    await operator.js.publish("checkout.state.o1", "");
    await until("the transition to be seen", () => seen.length === 1);
    expect(await jsm.direct.getMessage("CHECKOUT", { last_by_subj: "checkout.state.o1" })).not.toBeNull();
    expect((await jsm.consumers.info("ORDER", "coordinator")).name).toBe("coordinator");
  });

  it("is the messages of all streams and the positions of those who work on them, for the story of an order", async () => {
    const { jsm } = await as("order");
    for (const { name, prefix } of streams) {
      const stored = await jsm.direct.getMessage(name, { last_by_subj: `${prefix}.secret.x` });
      expect(stored?.string()).toBe("x");
    }
    for (const { stream, service } of workingConsumers())
      expect((await jsm.consumers.info(stream, service)).name).toBe(service);
  });
});

describe("writeCredentials()", () => {
  it("makes files for their owner's eyes only, keeps them, and puts no seed into the server's part", async () => {
    const other = join(folder, "other");
    const { authorization } = writeCredentials(other);
    const names = (await readdir(other)).filter((name) => name.endsWith(".nk"));
    expect(names.sort()).toEqual([OPERATOR, ...services].map((name) => `${name}.nk`).sort());
    const seeds = await Promise.all(names.map((name) => readFile(join(other, name), "utf8")));
    for (const name of names) expect((await stat(join(other, name))).mode & 0o777).toBe(0o600);
    expect((await stat(other)).mode & 0o777).toBe(0o700);
    const block = await readFile(authorization, "utf8");
    for (const seed of seeds) expect(block).not.toContain(seed);
    writeCredentials(other);
    expect(await readFile(authorization, "utf8")).toBe(block);
    expect(await Promise.all(names.map((name) => readFile(join(other, name), "utf8")))).toEqual(seeds);
  });

  it("does not repeat what is no seed", async () => {
    const path = join(folder, "wrong.nk");
    await writeFile(path, "SUSECRET");
    expect(() => readSeed(path)).toThrow(`Cannot read a NATS credential from ${path}`);
    expect(() => readSeed(path)).not.toThrow("SUSECRET");
    expect(() => readSeed(join(folder, "none.nk"))).toThrow("ENOENT");
  });
});

describe("permissionsOf()", () => {
  const one: Topology = {
    streams: [
      { name: "A", prefix: "a", owner: "x", description: "" },
      { name: "ALL", prefix: "all", owner: undefined, writers: ["y"], description: "" },
    ],
    consumers: [],
    views: [{ service: "y", stream: "A", info: true, positions: "all" }],
  };

  it("lets a writer of a shared stream write every part, and a view see settings and positions only", () => {
    expect(permissionsOf("y", one)).toEqual({
      publish: ["all.>", "$JS.API.STREAM.INFO.A", "$JS.API.CONSUMER.INFO.A.*"],
      subscribe: ["_INBOX_y.>"],
    });
  });

  it("gives a service that the topology does not know its inbox and its dead letters", () => {
    expect(permissionsOf("z", one)).toEqual({ publish: ["all.z.>"], subscribe: ["_INBOX_z.>"] });
    expect(authorizationBlock({ z: "UZ" }, one)).toContain('allow: ["_INBOX_z.>"]');
  });
});
