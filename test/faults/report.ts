import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { markdownTable } from "markdown-table";
import { findNatsServer, projectFolder } from "../../tools/nats_server.mjs";
import { always, untried } from "./fault.ts";
import type { Result } from "./runner.ts";

const path = join(projectFolder, "docs", "faults.md");

/** One row per named test. */
export function resultTable(results: readonly Result[], nodes: 1 | 3): string {
  const head = ["test", "kills", "pauses", "network", "orders", "503", "p50", "p99", "longest"];
  const resumed = nodes === 3 ? ["resumed within"] : [];
  const rows = results.map((result) => {
    const { fault, tally, orders, delays, violations, seconds } = result;
    return [
      fault.name,
      ...[tally.kills, tally.pauses, tally.network, orders, tally.refused].map(String),
      ...[0.5, 0.99, 1].map((share) => `${(quantile(delays, share) / 1_000).toFixed(1)} s`),
      ...(nodes === 3 ? [`${(tally.resumedMs / 1_000).toFixed(1)} s`] : []),
      String(result.batches),
      String(violations.length),
      `${seconds.toFixed(0)} s`,
      violations.length === 0 ? "passed" : "FAILED",
    ];
  });
  const align = ["l", ...Array.from({ length: 15 }, () => "r" as const)];
  return markdownTable([[...head, ...resumed, "batches", "violations", "took", "result"], ...rows], {
    align,
  });
}

/** Writes the results of a whole run into its part of `docs/faults.md`; the other part stays as it is. */
export function writeResults(results: readonly Result[], nodes: 1 | 3): void {
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const other = nodes === 1 ? 3 : 1;
  const parts = { [nodes]: part(results, nodes), [other]: partOf(text, other) };
  writeFileSync(path, `${[intro, parts[1], parts[3]].filter((piece) => piece !== "").join("\n\n")}\n`);
}

const intro = `# What was broken, and what held

Written by \`npm run faults\` and \`npm run faults -- --nodes 3\`, each its own part. Every test opens a shop of its own, the
processes that \`npm start\` runs, with the disk's real syncs, and breaks it while orders of every kind are placed: some are
sold out, declined, cancelled at once, refunded because they cannot be shipped, or wait for a review that expires.

After each test everything that is stored is read and audited: ${always}. On top of that each has a criterion of its own.

How to read the table: *network* counts connections cut and messages dropped or held; *503* are requests that were told to
come back, as they were until they were accepted; *p50*, *p99* and *longest* are from the first try to place an order to
its end, with the faults, and with the two seconds that a review takes to expire; *batches* were checked to be whole.

${untried}`;

function part(results: readonly Result[], nodes: 1 | 3): string {
  const title = nodes === 1 ? "One server" : "Three servers, every stream on each of them";
  const violations = results.reduce((sum, result) => sum + result.violations.length, 0);
  const count = (of: (result: Result) => number) => results.reduce((sum, result) => sum + of(result), 0);
  const explained = results.map(({ fault }) => [`\`${fault.name}\``, fault.does, fault.passes]);
  return [
    mark(nodes),
    `## ${title}`,
    `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC · ${machine()}`,
    `**${results.length} tests, ${count(({ orders }) => orders)} orders, ${count(({ tally }) => tally.kills)} kills, ` +
      `${count(({ tally }) => tally.pauses)} pauses, ${count(({ tally }) => tally.network)} faults of the network: ` +
      `${violations} violations.**`,
    resultTable(results, nodes),
    markdownTable([["test", "what is done", "passes when, besides the audit"], ...explained]),
  ].join("\n\n");
}

/** The part of an earlier run, as it is in the file. */
function partOf(text: string, nodes: 1 | 3): string {
  const begin = text.indexOf(mark(nodes));
  if (begin < 0) return "";
  const end = text.indexOf("<!-- nodes:", begin + 1);
  return text.slice(begin, end < 0 ? undefined : end).trim();
}

function mark(nodes: 1 | 3): string {
  return `<!-- nodes: ${nodes} -->`;
}

function machine(): string {
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GB`;
  const model = cpu?.model.trim() || process.arch;
  return [
    `${cpus().length} × ${model}, ${memory}, ${type()} ${release()}`,
    `Node ${process.version}, nats-server ${findNatsServer().version}`,
    `commit ${commit()}`,
  ].join(" · ");
}

/** Of an archive without history nothing can be said. */
function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      cwd: projectFolder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown";
  }
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
