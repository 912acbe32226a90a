import { spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";

const main = join(import.meta.dirname, "main.ts");

/** Runs the command to its end. */
async function bench(args: readonly string[]) {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { out, err, code };
}

it("bench checkout measures a real shop, and leaves a section, the figures and nothing else", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bench-test-"));
  try {
    const docs = join(folder, "benchmarks.md");
    const json = join(folder, "figures.json");
    const data = join(folder, "data");
    const { out, err, code } = await bench([
      ...["checkout", "--targets", "shop", "--concurrency", "4", "--seconds", "1", "--no-syncs"],
      ...["--docs", docs, "--json", json, "--data-dir", data],
    ]);
    // 1 where something else kept the machine busy, as tests do; the figures are there all the same, and say so.
    expect([0, 1], err).toContain(code);
    expect(out).toContain("### shop");
    expect(await readFile(docs, "utf8")).toContain("## Whole checkouts");
    const { results } = JSON.parse(await readFile(json, "utf8"));
    const [level] = results.checkout.data.runs[0].levels;
    expect(level).toMatchObject({ concurrency: 4, errors: 0 });
    expect(level.perSecond).toBeGreaterThan(0);
    expect(await readdir(data)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it("bench catchup stops the analytics of a real shop and starts them again, and finds all counted", {
  timeout: 240_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "bench-test-"));
  try {
    // PostgreSQL has to get to its own, as another user if this is root.
    await chmod(folder, 0o711);
    const json = join(folder, "figures.json");
    const { err, code } = await bench([
      ...[
        "catchup",
        "--events",
        "100",
        "--steady",
        "5",
        "--seconds",
        "1",
        "--databases",
        "postgres",
        "--no-docs",
      ],
      ...["--json", json, "--data-dir", join(folder, "data")],
    ]);
    expect([0, 1], err).toContain(code);
    const { results } = JSON.parse(await readFile(json, "utf8"));
    expect(results, err).toHaveProperty("catchup");
    const [{ events, seconds, errors, books }] = results.catchup.data.runs;
    expect(events).toBeGreaterThanOrEqual(100);
    expect(seconds).toBeGreaterThan(0);
    expect(errors).toEqual([]);
    expect(books.length).toBeGreaterThan(0);
    for (const { what, inLedgers, inAnalytics } of books) {
      expect({ [what]: inAnalytics }).toEqual({ [what]: inLedgers });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
