import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Batch, Belonging } from "./batch.ts";
import { causeLines } from "./cause.ts";
import { type Contract, type Key, type Outgoing, subjectOf } from "./contracts/contract.ts";
import type { StateCache } from "./state_cache.ts";
import type { Task, View } from "./task.ts";

/**
 * What became of deciding a task.
 * - `decided`: its messages are in the batch; none are needed, or what it was decided on is confirmed.
 * - `unread`: nothing is in the batch; its keys have to be read after `oldest` (default: at any time), and where `guessed`
 *   says so, those too that it took to have no message.
 * - `full`: nothing is in the batch, which has no room for it.
 * - `failed`: nothing is in the batch; the task is at fault.
 */
export type Decided =
  | { kind: "decided"; result: unknown }
  | { kind: "unread"; oldest?: number; guessed?: true }
  | { kind: "full" }
  | { kind: "failed"; cause: unknown };

export interface Circumstances {
  /** What the commit will store that is being put together; its writes are visible to the task. */
  batch: Batch;
  cache: StateCache;
  /** When the task was given, `performance.now()`: what confirms a decision that writes nothing was read after it. */
  since: number;
  /** Whether the key, of which nothing is known, may be taken to have no message. */
  mayGuess(key: Key): boolean;
}

/** Has `task` decide on what is in memory, and adds its messages to the batch under the guards of what it has seen. */
export function decideTask(task: Task<unknown>, circumstances: Circumstances): Decided {
  const { batch, cache, since, mayGuess } = circumstances;
  const { keys } = task;
  const guards = new Map<string, number>();
  const guessed: string[] = [];
  for (const key of keys) {
    const cached = cache.get(key.subject);
    if (cached === undefined && (batch.has(key.subject) || !mayGuess(key))) return { kind: "unread" };
    if (cached === undefined) guessed.push(key.subject);
    guards.set(key.subject, cached?.seq ?? 0);
  }
  try {
    const { messages, result } = task.decide(viewOf(guards, circumstances));
    // Only its guard protects what is built on a guess.
    if (!guessed.every((subject) => messages.some((message) => message.subject === subject))) {
      return { kind: "unread", guessed: true };
    }
    if (messages.length === 0) {
      const confirmed = keys.every((key) => batch.has(key.subject) || cache.isFresh(key, since));
      return confirmed ? { kind: "decided", result } : { kind: "unread", oldest: since };
    }
    checkMessages(messages, keys);
    const added = batch.add(messages, guards, belongingOf(task, circumstances));
    return added ? { kind: "decided", result } : { kind: "full" };
  } catch (cause) {
    return { kind: "failed", cause };
  }
}

function belongingOf({ trace, continues, cause }: Task<unknown>, { batch, cache }: Circumstances): Belonging {
  const story =
    continues === undefined ? undefined : (batch.traceOf(continues) ?? cache.get(continues)?.trace);
  const lines = cause && causeLines(cause);
  return story === undefined
    ? { trace, causeLines: lines }
    : { trace: story, cause: trace, causeLines: lines };
}

function viewOf(
  guards: ReadonlyMap<string, number>,
  { batch, cache }: Pick<Circumstances, "batch" | "cache">,
): View {
  return {
    get: <S extends DescMessage>(contract: Contract<S>, id: string) => {
      const subject = subjectOf(contract, id);
      if (!guards.has(subject)) throw new ReferenceError(`Cannot read ${subject}: the task does not name it`);
      return (batch.get(subject) ?? cache.get(subject)?.value) as MessageShape<S> | undefined;
    },
  };
}

/** @throws {TypeError} If no state is written with the messages, or one of them belongs into another ledger. */
function checkMessages(messages: readonly Outgoing[], keys: readonly Key[]): void {
  const subjects = messages.map((message) => message.subject);
  if (!subjects.some((subject) => keys.some((key) => key.subject === subject))) {
    throw new TypeError(`Cannot store ${subjects.join(", ")}: no state is written with it`);
  }
  // The rest of a batch would wait for it forever, since it would go to another stream.
  const owner = ownerOf(keys[0]?.subject ?? "");
  const foreign = subjects.find((subject) => ownerOf(subject) !== owner);
  if (foreign !== undefined) throw new TypeError(`Cannot store ${foreign}: it is not of the ledger ${owner}`);
}

function ownerOf(subject: string): string {
  return subject.slice(0, subject.indexOf("."));
}
