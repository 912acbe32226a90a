import type { Command } from "commander";
import { type Rule, table } from "../services/coordinator/table.ts";
import { Reconciler } from "../services/monitor/reconciler.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, note, type Output, print, printJson, shorten } from "./output.ts";
import type { Context } from "./program.ts";

/** Long enough that hardly any order is judged twice; at the end all are, whatever is under way about them. */
const SETTLE_MS = 60_000;

/** `reconcile`: compares all ledgers once, from their first message to the one that is the last when it begins. */
export function addReconcile(program: Command, { output, run }: Context): void {
  program
    .command("reconcile")
    .description("compare orders, stock, payments and shipments across all ledgers, once")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) => run((shop) => reconcile(output, shop, flags)));
}

async function reconcile(
  output: Output,
  { connection, jsm }: Shop,
  { json }: { json?: boolean },
): Promise<ExitCode> {
  // It prints what it finds when it is through.
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const reconciler = new Reconciler({ connection, jsm, log, settleMs: SETTLE_MS, judge: { isTransition } });
  const began = Date.now();
  while ((await reconciler.step()) > 0 && reconciler.findings.comparedUpTo < began) await reconciler.settle();
  await reconciler.finish();

  const { checked, open, violations } = reconciler.findings;
  if (json) {
    printJson(output, { checked, open, violations });
  } else {
    const rows = violations.map(({ invariant, subject, detail }) => [invariant, subject, detail]);
    for (const line of columns(
      [["RULE", "ORDER OR SKU", "WHAT IS WRONG"], ...rows].slice(rows.length > 0 ? 0 : 1),
    ))
      print(output, shorten(line));
    const wrong = violations.length > 0;
    const verdict = wrong ? `${violations.length} violations` : "no violation";
    note(
      output,
      `${checked} orders compared, ${open} of them live, ${colour(output, wrong ? "red" : "green", verdict, output.err)}`,
    );
  }
  return violations.length > 0 ? 1 : 0;
}

function isTransition(from: string, cause: string, to: string): boolean {
  const rules: Readonly<Record<string, Readonly<Record<string, Rule>>>> = table;
  const rule = rules[from]?.[cause];
  return rule?.kind === "go" && rule.to === to;
}
