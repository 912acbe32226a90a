import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kysely, PGliteDialect, sql } from "kysely";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { providePGlite } from "../../test/support/pglite.ts";
import { PGliteThread } from "./pglite.ts";

let folder: string;
let dataDir: string;
const failures: Error[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pglite-test-"));
  dataDir = join(folder, "pglite");
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  failures.length = 0;
});

function start(where = dataDir): PGliteThread {
  return new PGliteThread({ dataDir: where, fail: (cause) => failures.push(cause) });
}

async function answer(pglite: PGliteThread, sql: string, parameters?: readonly unknown[]): Promise<unknown> {
  const { rows } = await pglite.query<{ value: unknown }>(sql, parameters);
  return rows[0]?.value;
}

describe("PGlite in a thread", () => {
  let pglite: PGliteThread;
  beforeAll(async () => {
    await providePGlite(folder);
    pglite = start();
  });
  afterAll(() => pglite.close());

  it("answers with numbers, days as text, and times, in the order in which it is asked", async () => {
    const answers = await Promise.all([
      answer(pglite, "SELECT $1::bigint AS value", [2 ** 40]),
      answer(pglite, "SELECT '2026-01-31'::date AS value"),
      answer(pglite, "SELECT '2026-01-31T12:00:00Z'::timestamptz AS value"),
    ]);
    expect(answers).toEqual([2 ** 40, "2026-01-31", new Date("2026-01-31T12:00:00Z")]);
  });

  it("lets its process do other things while it computes", async () => {
    let ticks = 0;
    const ticking = setInterval(() => (ticks += 1), 5);
    await answer(pglite, "SELECT count(*) AS value FROM generate_series(1, 2000000)");
    clearInterval(ticking);
    expect(ticks).toBeGreaterThan(3);
  });

  it("says what the database says against a statement, with its SQLSTATE, and goes on", async () => {
    await expect(pglite.query("SELECT nothing")).rejects.toMatchObject({
      name: "PGliteError",
      code: "42703",
    });
    expect(await answer(pglite, "SELECT 7 AS value")).toBe(7);
  });

  it("has others wait for a transaction, of which all is stored or nothing", async () => {
    await pglite.query("CREATE TABLE counted (n int)");
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const failed = pglite.transaction(async (transaction) => {
      await transaction.query("INSERT INTO counted VALUES (1)");
      await asked;
      throw new Error("changed my mind");
    });
    const meanwhile = answer(pglite, "SELECT count(*) AS value FROM counted");
    resolve();
    await expect(failed).rejects.toThrow("changed my mind");
    expect(await meanwhile).toBe(0);
    const careless = pglite.transaction(async (transaction) => {
      await transaction.query("INSERT INTO counted VALUES (1)");
      await transaction.query("SELECT nothing").catch(() => undefined);
    });
    await expect(careless).rejects.toMatchObject({ code: "25P02" });
    await pglite.transaction((transaction) => transaction.query("INSERT INTO counted VALUES (2)"));
    expect(await answer(pglite, "SELECT n AS value FROM counted")).toBe(2);
  });

  it("keeps what it has when it is closed, which nobody takes for a failure", async () => {
    await pglite.query("CREATE TABLE kept (n int)");
    await pglite.close();
    await expect(pglite.query("SELECT 1")).rejects.toThrow("PGlite has ended");
    expect(failures).toEqual([]);
    pglite = start();
    expect(await answer(pglite, "SELECT count(*) AS value FROM kept")).toBe(0);
  });
});

describe("PGlite that is not open", () => {
  it("tells once that it has failed, and answers nobody: below a file, where no database can be", async () => {
    const file = join(folder, "file");
    await writeFile(file, "");
    const pglite = start(join(file, "pglite"));
    await expect(pglite.query("SELECT 1")).rejects.toThrow("PGlite has failed");
    await expect(pglite.query("SELECT 1")).rejects.toThrow("PGlite has failed");
    expect(failures).toHaveLength(1);
    await pglite.close();
  });

  it("ends a transaction that Kysely begins in it, and whoever waits for it to open", async () => {
    const file = join(folder, "another file");
    await writeFile(file, "");
    const pglite = start(join(file, "pglite"));
    const db = new Kysely({ dialect: new PGliteDialect({ pglite }) });
    const work = db.transaction().execute((transaction) => sql`SELECT 1`.execute(transaction));
    await expect(work).rejects.toThrow("PGlite has failed");
    await expect(pglite.opened(new AbortController().signal)).rejects.toThrow("PGlite has failed");
    await db.destroy();
  });

  it("ends at once while it makes its database, and leaves none that is half made", async () => {
    const made = join(folder, "made");
    const pglite = start(made);
    const refused = expect(pglite.query("SELECT 1")).rejects.toThrow("PGlite has ended");
    const givesUp = new AbortController();
    const waited = expect(pglite.opened(givesUp.signal)).rejects.toThrow("not any more");
    givesUp.abort(new Error("not any more"));
    await waited;
    await pglite.close();
    await refused;
    expect(existsSync(made)).toBe(false);
    expect(failures).toEqual([]);
  });
});
