import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFreezer } from "../../test/support/freezer.ts";
import { silent, until } from "../../test/support/mod.ts";
import { query, startTestPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { asWriter, isDatabaseDown, openDatabase } from "./database.ts";

describe("isDatabaseDown()", () => {
  const withCode = (code: string) => Object.assign(new Error("said so"), { code });
  it.each(["ECONNREFUSED", "ENOTFOUND", "08006", "28P01", "3D000", "53300", "57P01", "3F000", "42P01"])(
    "takes %s for one that does not answer or lets nobody in",
    (code) => expect(isDatabaseDown(withCode(code))).toBe(true),
  );
  it.each(["ERR_INVALID_ARG_TYPE", "23505", "42601", "22P02", "40001"])("takes %s for an answer", (code) =>
    expect(isDatabaseDown(withCode(code))).toBe(false),
  );
  it("takes a bug for a bug, and what the driver says without a code for the driver's", () => {
    expect(isDatabaseDown(new TypeError("x is undefined"))).toBe(false);
    expect(isDatabaseDown(new Error("Connection terminated"))).toBe(true);
  });
});

describe("a database that several processes share", () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startTestPostgres();
  });
  afterAll(() => postgres[Symbol.asyncDispose]());

  it("reads times the same way, whatever its role and the database have set", async () => {
    const url = await postgres.createDatabase();
    const name = new URL(url).pathname.slice(1);
    await query(url, "ALTER ROLE CURRENT_USER SET datestyle = 'German, DMY'");
    await query(url, `ALTER DATABASE "${name}" SET timezone = 'Asia/Kathmandu'`);
    try {
      await using database = await openDatabase<object>({ url, folder: "", log: silent });
      const asked = sql<{ at: Date; day: string }>`
        SELECT timestamptz '2026-02-03T23:30:00Z' AS at, (timestamptz '2026-02-03T23:30:00Z')::date AS day`;
      const { rows } = await asked.execute(database.db);
      expect(rows).toEqual([{ at: new Date("2026-02-03T23:30:00Z"), day: "2026-02-03" }]);
    } finally {
      await query(url, "ALTER ROLE CURRENT_USER RESET datestyle");
    }
  });

  it("has one writer, and the next one when that is gone; whoever asks twice waits once", async () => {
    const url = await postgres.createDatabase();
    const open = () => openDatabase<object>({ url, folder: "", log: silent });
    const never = new AbortController().signal;
    const first = await open();
    await using second = await open();
    await first.becomeWriter(never);
    const became = Promise.all([second.becomeWriter(never), second.becomeWriter(never)]);
    await until("a look", async () => !second.isWriter);
    const giveUp = new AbortController();
    await using third = await open();
    const waited = third.becomeWriter(giveUp.signal);
    giveUp.abort(new Error("enough"));
    await expect(waited).rejects.toThrow("enough");
    expect([first.isWriter, second.isWriter, third.isWriter]).toEqual([true, false, false]);
    await first[Symbol.asyncDispose]();
    await became;
    expect(second.isWriter).toBe(true);
  });

  it("keeps its writer when that loses its connections, and knows the same claim", async () => {
    const url = await postgres.createDatabase();
    const never = new AbortController().signal;
    await using first = await openDatabase<object>({ url, folder: "", log: silent });
    await using second = await openDatabase<object>({ url, folder: "", log: silent });
    await first.becomeWriter(never);
    const { claim } = first;
    const giveUp = new AbortController();
    // It may be told of its own connection, if that was asking something right then.
    const waited = expect(second.becomeWriter(giveUp.signal)).rejects.toThrow();
    const name = new URL(url).pathname.slice(1);
    await query(
      postgres.server.url(),
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`,
    );
    await until("it to notice", () => !first.isWriter);
    await until("it to be back", () => first.isWriter);
    giveUp.abort(new Error("enough"));
    await waited;
    await asWriter(first, async () => undefined);
    expect([first.claim, second.isWriter]).toEqual([claim, false]);
  });

  it("has another claim when it becomes the writer again after another, so that nothing of before counts", async () => {
    const url = await postgres.createDatabase();
    const never = new AbortController().signal;
    await using network = await startFreezer(Number(new URL(url).port));
    const through = new URL(url);
    through.host = `127.0.0.1:${network.port}`;
    const options = { folder: "", log: silent, leaseMs: 3_000 };
    await using first = await openDatabase<object>({ url: through.href, ...options });
    await first.becomeWriter(never);
    const { claim } = first;
    network.freeze();
    {
      await using second = await openDatabase<object>({ url, ...options });
      await second.becomeWriter(never);
      expect(first.isWriter).toBe(false);
    }
    network.thaw();
    await until("the first to be the writer again", () => first.isWriter);
    expect(first.claim).not.toBe(claim);
    const { claim: now } = first;
    const assertHeld = (said: string | undefined) => sql`SELECT analytics_writer.assert_held(${said})`;
    await expect(assertHeld(claim).execute(first.writer)).rejects.toMatchObject({ code: "55000" });
    await assertHeld(now).execute(first.writer);
  });

  it("knows that it writes no longer when the server is gone, and becomes the writer again when that is back", async () => {
    const url = await postgres.createDatabase();
    const never = new AbortController().signal;
    await using database = await openDatabase<object>({ url, folder: "", log: silent });
    await database.becomeWriter(never);
    await postgres.server.stop({ mode: "immediate" });
    await until("it to notice", () => !database.isWriter);
    await expect(database.becomeWriter(never)).rejects.toThrow();
    await postgres.server.start();
    await database.becomeWriter(never);
    expect(database.isWriter).toBe(true);
  });
});
