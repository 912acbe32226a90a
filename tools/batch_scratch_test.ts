import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { applyTopology, commit, connect, newHeaders } from "../nats/mod.ts";
import { silent, until } from "../test/support/mod.ts";
import { linkAll } from "./batch_scratch.ts";
import { startShop } from "./supervisor.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "scratch-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("linkAll()", () => {
  const stream = () => join(folder, "store", "jetstream", "$G", "streams", "ORDER");
  const isLink = () => lstatSync(join(stream(), "batches")).isSymbolicLink();
  const link = () => linkAll(join(folder, "store"), join(folder, "memory"));

  it("puts the scratch folder of each stream into memory, once", () => {
    mkdirSync(stream(), { recursive: true });
    link();
    link();
    expect(isLink()).toBe(true);
    writeFileSync(join(stream(), "batches", "x"), "");
    expect(readdirSync(join(folder, "memory", "$G", "ORDER"))).toEqual(["x"]);
  });

  it("takes the place of a folder that the server has made, unless a batch is in it", () => {
    mkdirSync(join(stream(), "batches", "b1"), { recursive: true });
    link();
    expect(isLink()).toBe(false);
    expect(existsSync(join(stream(), "batches", "b1"))).toBe(true);
    rmSync(join(stream(), "batches", "b1"), { recursive: true });
    link();
    expect(isLink()).toBe(true);
  });

  it("empties what a server that was killed has left in memory", () => {
    mkdirSync(stream(), { recursive: true });
    link();
    writeFileSync(join(stream(), "batches", "half"), "");
    // As the server does when it starts.
    rmSync(join(stream(), "batches"));
    link();
    expect(readdirSync(join(stream(), "batches"))).toEqual([]);
  });

  it("does nothing where there is no store yet", () => {
    link();
    expect(existsSync(join(folder, "memory"))).toBe(false);
  });
});

describe.runIf(existsSync("/dev/shm"))("startShop()", () => {
  it("keeps scratch files in memory, also after nats-server has started again, and leaves none behind", async () => {
    const shop = await startShop({
      dataDir: folder,
      ports: "free",
      services: [],
      report: () => undefined,
      prepare: async (operator) => void (await applyTopology(operator)),
    });
    const batches = join(shop.dataDir, "nats", "jetstream", "$G", "streams", "ORDER", "batches");
    const isLinked = async () => lstatSync(batches, { throwIfNoEntry: false })?.isSymbolicLink() === true;
    await until("the link", isLinked);
    await shop.kill("nats-server");
    await shop.ready("nats-server");
    await until("the link again", isLinked);

    const connection = await connect({ ...shop.operator, name: "test", log: silent });
    const entry = (id: string) => ({
      subject: `order.created.${id}`,
      data: new Uint8Array(1),
      headers: newHeaders(),
      expect: 0,
    });
    expect(await commit(connection, "ORDER", [entry("a"), entry("b")])).toMatchObject({ kind: "committed" });
    await connection.close();
    const scratch = readlinkSync(batches);
    expect(existsSync(scratch)).toBe(true);
    await shop.shutdown();
    expect(existsSync(scratch)).toBe(false);
  });
});
