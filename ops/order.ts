import { type Command, InvalidArgumentError } from "commander";
import {
  type EntryJson,
  isTraceUrl,
  type LetterJson,
  readStory,
  type StoryJson,
  storyJson,
} from "../nats/mod.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, note, type Output, print, printJson } from "./output.ts";
import type { Context } from "./program.ts";

/** `order`: one order's whole story, from the streams alone, whatever services run. */
export function addOrder(program: Command, { config, output, run }: Context): void {
  program
    .command("order")
    .description("one order's whole story: transitions, commands, events, timers, dead letters, in order")
    .argument("<id>", "of the order: ord_…", readId)
    .option("--json", "print JSON")
    .action((id: string, flags: { json?: boolean }) => {
      const { traceUrl } = config;
      if (traceUrl !== undefined && !isTraceUrl(traceUrl)) {
        program.error(`error: TRACE_URL is ${JSON.stringify(traceUrl)}, no http URL with {trace_id} in it`);
      }
      return run((shop) => tell(shop, output, { id, traceUrl, ...flags }));
    });
}

function readId(text: string): string {
  if (/^[\w-]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError("An order's id has letters, digits, _ and -, 64 at most.");
}

async function tell(
  shop: Shop,
  output: Output,
  { id, traceUrl, json }: { id: string; traceUrl: string | undefined; json?: boolean },
): Promise<ExitCode> {
  const story = await readStory(shop, id);
  if (story === undefined) {
    note(output, colour(output, "red", `There is no order ${JSON.stringify(id)}`, output.err));
    return 1;
  }
  const told = storyJson(story, { traceUrl, operator: true });
  if (json) printJson(output, told);
  else for (const line of linesOf(output, told)) print(output, line);
  return 0;
}

/** A head, a line for each entry with a rule where a decision begins, and what is still to come. */
function linesOf(output: Output, story: StoryJson): string[] {
  const { order_id, trace_id, trace_url, entries, dead_letters = [], truncated } = story;
  const rows = entries.map((entry, index) => {
    const begins = entries[index - 1]?.decision !== entry.decision;
    const ends = entries[index + 1]?.decision !== entry.decision;
    const bracket = begins && ends ? " " : begins ? "┌" : ends ? "└" : "│";
    return [
      entry.at.slice(11, 23),
      `+${entry.after_ms}`,
      bracket,
      `${entry.stream}:${entry.sequence}`,
      kinds[entry.kind],
      whatOf(entry, begins),
    ];
  });
  const [head = "", ...lines] = columns([["TIME", "+MS", " ", "MESSAGE", "KIND", "WHAT IT SAYS"], ...rows]);
  const waits = Map.groupBy(
    entries.flatMap(({ waits_for = [], stream, sequence }) =>
      waits_for.map((waiting) => ({ place: `${stream}:${sequence}`, how: waitText(waiting) })),
    ),
    ({ how }) => how,
  );
  return [
    `order ${order_id}, ${entries[0]?.at.slice(0, 10)}`,
    ...(trace_id === undefined ? [] : [`trace ${trace_url ?? trace_id}`]),
    "",
    head,
    ...lines.map((line, index) => {
      const entry = entries[index];
      const format = entry && formatOf(entry);
      return format === undefined ? line : colour(output, format, line);
    }),
    ...(truncated ? [`there is more: these are the first ${entries.length}`] : []),
    "",
    ...[...waits].map(([how, places]) =>
      colour(output, "yellow", `${how}: ${places.map(({ place }) => place).join(", ")}`),
    ),
    ...dead_letters.flatMap((letter) =>
      openLines(letter, entries).map((line, index) =>
        index === 0 ? colour(output, letter.holds_up ? "red" : "yellow", line) : line,
      ),
    ),
    ...(waits.size === 0 && dead_letters.length === 0 ? ["nobody has to deal with any of it"] : []),
  ];
}

/** What an open dead letter means for the order, and what to do about it. */
function openLines(
  { id, status, service, type, holds_up }: LetterJson,
  entries: readonly EntryJson[],
): string[] {
  const begun = entries.some(({ kind }) => kind === "transition");
  const stands = begun ? "the order cannot go on" : "the order cannot begin";
  const head = holds_up ? `${stands}: ` : "";
  const what = `${service} gave ${type} up, and has not handled it since (${id})`;
  switch (status) {
    case "redriven":
      return [`${service} gets ${type} again (${id})`];
    case "discarded":
      return [`${head}${what}; it was discarded`];
    default:
      return [`${head}${what}`, `  mend the cause, then: npm run ops -- dead-letters redrive ${id}`];
  }
}

const kinds = {
  transition: "state",
  state: "state",
  command: "command",
  event: "event",
  timer_set: "timer",
  timer_fired: "timer",
  mail: "mail",
  dead_letter: "dead letter",
  other: "other",
} as const satisfies Record<EntryJson["kind"], string>;

/** What is of the decision as a whole is said with its first message. */
function whatOf(entry: EntryJson, begins: boolean): string {
  const { subject, says, cause, delivery, deadline, timer_at, timer_cancelled, details } = entry;
  const notes: string[] = [];
  const since = (at: string) => `${((Date.parse(at) - Date.parse(entry.at)) / 1_000).toFixed(1)} s`;
  if (deadline !== undefined) notes.push(`deadline in ${since(deadline)}`);
  if (timer_at !== undefined) notes.push(`timer in ${since(timer_at)}`);
  if (timer_cancelled) notes.push("timer cancelled");
  for (const [name, value] of Object.entries(details ?? {}))
    notes.push(`${name.replaceAll("_", " ")}: ${value}`);
  if (begins && cause !== undefined) {
    const again = delivery === undefined ? "" : `, delivery ${delivery}`;
    notes.push(`of ${cause.stream}:${cause.sequence}${again}`);
  }
  const name = entry.dead_letter?.id ?? subject.split(".").slice(0, 2).join(".");
  return `${name}: ${says}${notes.length > 0 ? ` (${notes.join("; ")})` : ""}`;
}

function waitText({ service, progress, redelivered }: NonNullable<EntryJson["waits_for"]>[number]): string {
  const again = redelivered > 0 ? ` (${redelivered} of its open messages came more than once)` : "";
  if (progress === "missing") return `will not get to ${service}, which has no consumer`;
  if (progress === "waiting") return `waits for ${service}${again}`;
  return `under way at ${service}, or acknowledged out of turn${again}`;
}

function formatOf({ kind, delivery }: EntryJson): Parameters<typeof colour>[1] | undefined {
  if (kind === "dead_letter") return "red";
  if (delivery !== undefined) return "yellow";
  if (kind === "transition") return "bold";
  return kind === "timer_set" || kind === "timer_fired" ? "dim" : undefined;
}
