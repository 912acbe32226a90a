import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { applyTopology, type Seen } from "../nats/mod.ts";
import { startNats } from "../test/support/nats.ts";
import { StartError } from "./start_error.ts";
import { guardStore } from "./store_memory.ts";
import { scratchFolder } from "./testdata/scratch.ts";

test("guardStore() notes what it has seen, for nobody else to read", async () => {
  using folder = scratchFolder();
  await using nats = await startNats();
  await applyTopology({ servers: nats.url });
  const file = join(folder.path, "seen.json");
  const options = { operator: { servers: nats.url }, file, report: () => undefined };
  await using _ = await guardStore(options);
  const seen = JSON.parse(readFileSync(file, "utf8")) as Seen[];
  expect(seen.map(({ stream }) => stream)).toContain("ORDER");
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("guardStore() does not take a damaged note for none", async () => {
  using folder = scratchFolder();
  const file = join(folder.path, "seen.json");
  writeFileSync(file, "[{");
  const guarding = guardStore({
    operator: { servers: "nats://127.0.0.1:1" },
    file,
    report: () => undefined,
  });
  await expect(guarding).rejects.toThrow(StartError);
  await expect(guarding).rejects.toThrow(`Cannot read ${file}`);
  expect(existsSync(file)).toBe(true);
});
