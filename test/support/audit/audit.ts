import { checkoutState, orderCreated } from "../../../nats/contracts/mod.ts";
import { moneyChecker, stockFaults } from "./balance.ts";
import { checkBatches } from "./batches.ts";
import { effectChecker } from "./effects.ts";
import { commandsSent, earlyReviews, pathFaults } from "./history.ts";
import { type Ledgers, said } from "./ledgers.ts";

/** What must hold once every order has ended and everything is acknowledged. */
export interface Expected {
  /** Orders whose `POST` was answered with 202, and the ends that each may have: `completed` or a reason. */
  readonly accepted: readonly { readonly id: string; readonly ends?: readonly string[] }[];
  /** Units on sale before the first order, by sku. */
  readonly stock: Readonly<Record<string, number>>;
  /** Message-IDs of the mails that went out, each as often as it is there. */
  readonly mails: readonly string[];
  /** Ids that a test has put into the ledgers itself. */
  readonly ignore?: ReadonlySet<string>;
  /** Dead letters that there have to be. Default 0. */
  readonly deadLetters?: number;
}

/**
 * Checks the invariants of the design on everything that is stored. It knows the contracts and the coordinator's table,
 * and shares no code with the services that wrote it.
 *
 * @returns One line per violation, which begins with the invariant's number. None is what there should be.
 */
export function auditLedgers(ledgers: Ledgers, expected: Expected): string[] {
  const { accepted, ignore = new Set<string>(), deadLetters = 0 } = expected;
  const states = said(ledgers, checkoutState);
  const known = new Set(accepted.map(({ id }) => id));
  const violations: string[] = [];
  for (const id of new Set([...said(ledgers, orderCreated).keys(), ...states.keys()])) {
    if (!known.has(id) && !ignore.has(id)) violations.push(`I4 ${id}: an order that nobody was promised`);
  }
  const sent = commandsSent(ledgers);
  const effectFaults = effectChecker(ledgers);
  const moneyFaults = moneyChecker(ledgers);
  const mails = Map.groupBy(expected.mails, (messageId) => messageId.slice(1, messageId.indexOf(".")));
  for (const { id, ends } of accepted) {
    const snapshots = states.get(id) ?? [];
    const { state, reason, order, history = [] } = snapshots.at(-1)?.value ?? {};
    if (state !== "completed" && state !== "cancelled") {
      violations.push(`I3 ${id}: it has not ended; it is ${state ?? "not known to the coordinator"}`);
      continue;
    }
    const end = reason || state;
    const report = (rule: string, faults: readonly string[]) =>
      violations.push(...faults.map((fault) => `${rule} ${id} (${end}): ${fault}`));
    if (ends !== undefined && !ends.includes(end))
      report("I5", [`without faults it ends as ${ends.join(" or ")}`]);
    report("I1", moneyFaults(id, state === "completed" ? (order?.totalCents ?? 0n) : 0n));
    const causes = history.map(({ cause }) => cause);
    report("I4", effectFaults(id, state, causes));
    report("I5", pathFaults(snapshots, sent.get(id) ?? new Set()));
    const wanted = [state, "received"].map((kind) => `<${id}.order_${kind}@jetstream-checkout>`);
    const found = mails.get(id)?.toSorted() ?? [];
    if (found.join() !== wanted.join()) report("I4", [`its mails are ${found.join(", ") || "none"}`]);
  }
  violations.push(
    ...stockFaults(ledgers, expected.stock),
    ...earlyReviews(ledgers),
    ...checkBatches(ledgers).faults,
  );
  const parked = ledgers.DEAD_LETTER ?? [];
  if (parked.length !== deadLetters) {
    const subjects = parked.slice(0, 5).map(({ subject }) => subject);
    violations.push(`DEAD_LETTER holds ${parked.length}, not ${deadLetters}: ${subjects.join(", ")}`);
  }
  return violations;
}
