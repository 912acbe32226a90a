import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startNats } from "../../test/support/mod.ts";
import { type Answer, protoOf, startRegistry, type TestRegistry } from "./test_support.ts";

type Asked = [method: string, path: string, body?: object];

/** One process of the registry. */
interface Peer extends AsyncDisposable {
  /** Makes all of them at once. */
  ask(asked: readonly Asked[]): Promise<Answer[]>;
}

async function startPeer(url: string): Promise<Peer> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "registry-peer-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const path = fileURLToPath(new URL("test_peer.ts", import.meta.url));
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", path, url, folder], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exit = new Promise((resolve) => child.once("exit", resolve));
  stack.defer(async () => {
    child.stdin.end();
    await exit;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("ready");
  const running = stack.move();
  return {
    async ask(asked) {
      child.stdin.write(`${JSON.stringify(asked)}\n`);
      return JSON.parse((await lines.next()).value ?? "") as Answer[];
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

const ROUNDS = 20;
const rounds = Array.from({ length: ROUNDS }, (_, n) => n);
const versions = (subject: string) => `/subjects/${subject}/versions`;
const register = (subject: string, schema: string, more: object = {}): Asked => [
  "POST",
  versions(subject),
  { schema, ...more },
];
/** Has it compiled, so that registering it takes next to no time. */
const warm = (schema: string): Asked => ["POST", "/compatibility/subjects/warm/versions", { schema }];

describe("two processes at once", () => {
  const stack = new AsyncDisposableStack();
  let registry: TestRegistry;
  let peers: [Peer, Peer];

  beforeAll(async () => {
    const nats = stack.use(await startNats());
    registry = stack.use(await startRegistry(nats));
    const [a, b] = await Promise.all([startPeer(nats.url), startPeer(nats.url)]);
    peers = [stack.use(a), stack.use(b)];
  });
  afterAll(() => stack.disposeAsync());

  /** What both are asked at the same moment. */
  async function race(first: readonly Asked[], second: readonly Asked[]): Promise<[Answer[], Answer[]]> {
    return await Promise.all([peers[0].ask(first), peers[1].ask(second)]);
  }

  const [number, text] = [protoOf("int32 a = 1;"), protoOf("string a = 1;")];

  it("register versions that conflict: one is first, the other is checked against it and refused", async () => {
    await race([warm(number)], [warm(text)]);
    for (const n of rounds) {
      const [[one], [other]] = await race(
        [register(`conflict-${n}`, number)],
        [register(`conflict-${n}`, text)],
      );
      const [won, lost] = one?.status === 200 ? [one, other] : [other, one];
      expect(won).toMatchObject({ status: 200, body: { version: 1 } });
      expect(lost).toMatchObject({ status: 409, body: { error_code: 40901 } });
      expect(await registry.ask("GET", versions(`conflict-${n}`))).toMatchObject({ body: [1] });
    }
    // All at once as well, where what is decided shares batches.
    const all = (schema: string) => rounds.map((n) => register(`batch-${n}`, schema));
    const [ones, others] = await race(all(number), all(text));
    for (const n of rounds) {
      expect([ones[n]?.status, others[n]?.status].sort()).toEqual([200, 409]);
    }
  });

  it("register the same schema: one id, one version", async () => {
    const schemas = rounds.slice(0, 8).map((n) => protoOf(`int32 f${n} = 1;`, { name: "Same" }));
    await race(schemas.map(warm), schemas.map(warm));
    const all = schemas.flatMap((schema, n) =>
      Array.from({ length: 5 }, () => register(`same-${n}`, schema)),
    );
    const [ones, others] = await race(all, all);
    const found = [...ones, ...others].map(({ status, body }) => [status, body.version]);
    expect(new Set(found.map(String))).toEqual(new Set(["200,1"]));
    const ids = new Set([...ones, ...others].map(({ body }) => body.id));
    expect(ids.size).toBe(schemas.length);
  });

  it("register many schemas under many subjects: no id is given away twice, and none is left out", async () => {
    const schema = (n: number) => protoOf(`int32 g${n} = 1;`, { name: "Many" });
    const schemas = rounds.map(schema);
    await race(schemas.slice(0, 10).map(warm), schemas.slice(10).map(warm));
    const all = (from: number, to: number) =>
      schemas.slice(from, to).map((it, n) => register(`many-${from + n}`, it));
    const [ones, others] = await race(all(0, 10), all(10, 20));
    expect(new Set([...ones, ...others].map(({ body }) => body.id)).size).toBe(rounds.length);
    for (const [n, { body }] of [...ones, ...others].entries()) {
      const found = await registry.ask("GET", `/schemas/ids/${body.id}/versions`);
      expect(found.body).toEqual([{ subject: `many-${n}`, version: 1 }]);
    }
  });

  it("register with a reference and delete what it refers to: one of them is refused", async () => {
    const importing = protoOf("Order o = 1;", { name: "Importing", imports: ["order.proto"] });
    const references = (n: number) => ({
      references: [{ name: "order.proto", subject: `base-${n}`, version: 1 }],
    });
    await peers[1].ask(rounds.map((n) => register(`base-${n}`, number)));
    // The text is compiled once for all of them.
    await peers[0].ask([
      ["POST", "/compatibility/subjects/warm/versions", { schema: importing, ...references(0) }],
    ]);
    for (const n of rounds) {
      const adding = register(`importing-${n}`, importing, references(n));
      const removing: Asked = ["DELETE", `${versions(`base-${n}`)}/1`];
      const [[added], [removed]] = await race([adding], [removing]);
      const outcome = `${added?.body.error_code ?? added?.status} ${removed?.body.error_code ?? removed?.status}`;
      expect(["200 42206", "42201 200"]).toContain(outcome);
      const base = await registry.ask("GET", versions(`base-${n}`));
      expect(base.status).toBe(added?.status === 200 ? 200 : 404);
    }
  });
});
