import { timestampMs } from "@bufbuild/protobuf/wkt";
import { checkoutState, orderFlagged, reviewExpired, splitSubject, topology } from "../../../nats/mod.ts";
import { type Event, type Rule, type State, table } from "../../../services/coordinator/table.ts";
import { type Ledgers, type Said, said } from "./ledgers.ts";

type Snapshot = Said<typeof checkoutState.schema>;

/** The server's and the services' clocks are one here; what differs is when a time is rounded to milliseconds. */
const CLOCK_MS = 2;

/**
 * I5: where the snapshots of one order are not the growing path of the coordinator's table, a command of the path was
 * not sent, or a deadline passed too early.
 */
export function pathFaults(snapshots: readonly Snapshot[], sent: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  for (const [index, { value, time }] of snapshots.entries()) {
    const before = snapshots[index - 1]?.value;
    const path = value.history.map(({ state, cause }) => `${cause} → ${state}`);
    const earlier = before?.history.map(({ state, cause }) => `${cause} → ${state}`) ?? [];
    if (path.slice(0, earlier.length).join() !== earlier.join())
      faults.push(`history was rewritten: ${path}`);
    if (path.length > Math.max(1, earlier.length) + 1) faults.push(`a transition is missing before ${path}`);
    if (value.state !== value.history.at(-1)?.state) faults.push(`the state is not the last of ${path}`);
    const last = value.history.at(-1);
    if (path.length > earlier.length && last?.cause === "checkout.deadline_passed") {
      const early = before?.deadline === undefined ? 0 : timestampMs(before.deadline) - time.getTime();
      if (early > CLOCK_MS) faults.push(`the deadline of ${before?.state} passed ${early} ms early`);
    }
  }
  const history = snapshots.at(-1)?.value.history ?? [];
  if (history[0]?.state !== "created") faults.push(`it begins as ${history[0]?.state}`);
  for (const [index, { state, cause }] of history.entries()) {
    if (index === 0) continue;
    const from = history[index - 1]?.state as State;
    const rule: Rule | undefined = table[from]?.[cause as Event];
    if (rule?.kind !== "go" || rule.to !== state) {
      faults.push(`the table does not lead from ${from} to ${state} by ${cause}`);
      continue;
    }
    for (const command of rule.send) {
      if (!sent.has(command)) faults.push(`${command} was not sent on the way from ${from} to ${state}`);
    }
  }
  return faults;
}

/** The commands that were sent about each order. */
export function commandsSent(ledgers: Ledgers): Map<string, Set<string>> {
  const sent = new Map<string, Set<string>>();
  const stream = topology.streams.find(({ prefix }) => checkoutState.subject.startsWith(`${prefix}.`));
  for (const { subject } of ledgers[stream?.name ?? ""] ?? []) {
    const { prefix, id } = splitSubject(subject);
    const commands = sent.get(id) ?? new Set();
    commands.add(prefix.slice(prefix.indexOf(".") + 1));
    sent.set(id, commands);
  }
  return sent;
}

/** Reviews that expired before their time. */
export function earlyReviews(ledgers: Ledgers): string[] {
  const flagged = said(ledgers, orderFlagged);
  return [...said(ledgers, reviewExpired)].flatMap(([id, [expired]]) => {
    const due = flagged.get(id)?.[0]?.value.expiresAt;
    const early = due === undefined ? 0 : timestampMs(due) - (expired?.time.getTime() ?? 0);
    return early > CLOCK_MS ? [`I5 ${id}: its review expired ${early} ms early`] : [];
  });
}
