import type { Child } from "./child.ts";

type Report = (line: string) => void;

/** A shop whose services wait for something says so this often. */
const stillWaitingEveryMs = 5_000;
/** What looks on has the cores to itself once the shop is open; it gets them no later than this. */
const onlookersAfterMs = 10_000;
/** An onlooker is told of that is not ready by then, and again each time that it has waited twice as long. */
const lateAfterMs = 15_000;

/**
 * Starts what orders need and resolves when it is ready, however long that takes; a line says every five seconds what is
 * waited for. Then starts what looks on, whose readiness is a line each, and whose failures are no failure of the shop.
 *
 * @throws {StartError} If a process that orders need ends before it is ready.
 */
export async function startServices(
  { needed, onlookers }: { needed: readonly Child[]; onlookers: readonly Child[] },
  { report, isStopping }: { report: Report; isStopping: () => boolean },
): Promise<void> {
  let onlooking = false;
  const lookOn = () => {
    if (onlooking || isStopping()) return;
    onlooking = true;
    for (const child of onlookers) launch(child, report);
  };
  const late = setTimeout(lookOn, onlookersAfterMs);
  try {
    if (needed.length > 0) report(`starting ${names(needed)}`);
    await startAll(needed, report);
  } finally {
    clearTimeout(late);
  }
  lookOn();
}

/**
 * Resolves when all are ready, however long that takes; every five seconds a line says what is waited for.
 *
 * @throws {StartError} If one of them ends before it is ready.
 */
export async function startAll(children: readonly Child[], report: Report): Promise<void> {
  const waiting = new Set(children);
  const reminder = setInterval(() => report(`still waiting for ${reasons(waiting)}`), stillWaitingEveryMs);
  try {
    await Promise.all(children.map((child) => child.start().then(() => waiting.delete(child))));
  } finally {
    clearInterval(reminder);
  }
}

/** Starts it, and says when it is ready or what it waits for. */
function launch(child: Child, report: Report): void {
  const { name } = child;
  let waitedMs = lateAfterMs;
  const tell = () => {
    report(`${name} is not ready after ${waitedMs / 1_000} s: it waits for ${child.waitsFor}; no order does`);
    late = setTimeout(tell, waitedMs).unref();
    waitedMs *= 2;
  };
  let late = setTimeout(tell, waitedMs).unref();
  child.launch();
  void child.ready().then(
    () => {
      clearTimeout(late);
      report(`${name} is ready`);
    },
    // It was stopped meanwhile, by somebody who knows.
    () => clearTimeout(late),
  );
}

/** `order (topology, schemas), payment (its first answer)` */
function reasons(waiting: ReadonlySet<Child>): string {
  return [...waiting].map(({ name, waitsFor }) => `${name} (${waitsFor ?? "ready"})`).join(", ");
}

function names(children: readonly Child[]): string {
  return children.map(({ name }) => name).join(", ");
}
