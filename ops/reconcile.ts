import type { Command } from "commander";
import { counted, OpenLetters, readStuck, type StuckOrder } from "../nats/mod.ts";
import { type Rule, table } from "../services/coordinator/table.ts";
import { Reconciler } from "../services/monitor/reconciler.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, note, type Output, print, printJson, shorten } from "./output.ts";
import type { Context } from "./program.ts";

/** Long enough that hardly any order is judged twice; at the end all are, whatever is under way about them. */
const SETTLE_MS = 60_000;

/** Orders that are held up and told one by one. More have one cause, as a rule, and `orders --stuck` lists them. */
const MAX_STUCK = 100;

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
  const letters = new OpenLetters(jsm);
  const reconciler = new Reconciler({
    connection,
    jsm,
    letters,
    log,
    settleMs: SETTLE_MS,
    judge: { isTransition },
  });
  const began = Date.now();
  while ((await reconciler.step()) > 0 && reconciler.findings.comparedUpTo < began) await reconciler.settle();
  await reconciler.finish();

  const { checked, open, violations } = reconciler.findings;
  const stuck = await readStuck(jsm, letters);
  const wrong = violations.length + stuck.length > 0;
  if (json) {
    printJson(output, { checked, open, violations, stuck: stuck.map(stuckJson) });
    return wrong ? 1 : 0;
  }
  const rows = violations.map(({ invariant, subject, detail }) => [invariant, subject, detail]);
  for (const line of columns(
    [["RULE", "ORDER OR SKU", "WHAT IS WRONG"], ...rows].slice(rows.length > 0 ? 0 : 1),
  ))
    print(output, shorten(line));
  for (const order of stuck.slice(0, MAX_STUCK)) for (const line of stuckLines(order)) print(output, line);
  if (stuck.length > MAX_STUCK)
    print(output, `and ${stuck.length - MAX_STUCK} more: npm run ops -- orders --stuck`);
  const verdict = [
    violations.length > 0 ? counted(violations.length, "violation") : "no violation",
    ...(stuck.length > 0 ? [`${counted(stuck.length, "order")} held up by dead letters`] : []),
  ].join(", ");
  note(
    output,
    `${counted(checked, "order")} compared, ${open} of them live, ${colour(output, wrong ? "red" : "green", verdict, output.err)}`,
  );
  return wrong ? 1 : 0;
}

/** Not a rule that is violated, but a person who is waited for. */
function stuckLines({ orderId, state, letters }: StuckOrder): string[] {
  const cannot = state === "created" ? "cannot begin" : `cannot leave ${state}`;
  return letters.flatMap(({ id, service, type, status }) => [
    `stuck  ${orderId} ${cannot}: ${service} gave ${type} up`,
    status === "discarded"
      ? `       it was discarded (${id}): only a deadline or a cancellation moves the order on`
      : `       mend the cause, then: npm run ops -- dead-letters redrive ${id}`,
  ]);
}

function stuckJson({ orderId, state, letters }: StuckOrder) {
  return {
    order_id: orderId,
    state,
    dead_letters: letters.map(({ id, service, type, status, parkedAt }) => {
      return { id, service, type, status, since: parkedAt.toISOString() };
    }),
  };
}

function isTransition(from: string, cause: string, to: string): boolean {
  const rules: Readonly<Record<string, Readonly<Record<string, Rule>>>> = table;
  const rule = rules[from]?.[cause];
  return rule?.kind === "go" && rule.to === to;
}
