import { afterAll, beforeAll, expect, test } from "vitest";
import { query, startTestPostgres, type TestPostgres } from "./mod.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres({
    prepare: async (url) => {
      await query(url, "CREATE TABLE given AS SELECT 1 AS one");
    },
  });
});
afterAll(() => postgres?.[Symbol.asyncDispose]());

test("createDatabase() makes databases that begin as prepared and know nothing of each other", async () => {
  const [first, second] = [await postgres.createDatabase(), await postgres.createDatabase()];
  await query(first, "UPDATE given SET one = 2");
  expect(await query(first, "SELECT one FROM given")).toEqual([{ one: 2 }]);
  expect(await query(second, "SELECT one FROM given")).toEqual([{ one: 1 }]);
});
