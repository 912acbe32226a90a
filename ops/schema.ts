import { type Command, InvalidArgumentError } from "commander";
import { counted, SchemaStore } from "../nats/mod.ts";
import { CompileError, type Mode, modes } from "../schemas/mod.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, note, type Output, print, printJson, progress } from "./output.ts";
import type { Context } from "./program.ts";
import { readCandidate, UnknownCandidateError } from "./schema_candidate.ts";
import { type Preview, previewChange, type SchemaCount } from "./schema_preview.ts";

/** A million headers are read in well under a minute. */
const MAX_MESSAGES = 1_000_000;

interface Flags {
  json?: boolean;
  maxMessages: number;
}

/** `schema check <what>`: what a change of the schemas would mean for what is there. */
export function addSchema(program: Command, { config, output, run }: Context): void {
  program
    .command("schema")
    .description("schemas of messages")
    .command("check <what>")
    .description(
      "preview a change: a .proto file, a folder in place of proto/, or a branch, tag or commit. Mode by mode, who reads " +
        "it, and which retained messages and waiting orders it would strand. Ends with 1 if a service with it would not start",
    )
    .option("--json", "print JSON")
    .option("--max-messages <n>", "messages of each subject to look at", atLeastOne, MAX_MESSAGES)
    .action((what: string, flags: Flags) =>
      run((shop) => checkSchemas(output, shop, what, { ...flags, path: config.path })),
    );
}

function atLeastOne(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("Must be a number from 1 on.");
  return Number(text);
}

async function checkSchemas(
  output: Output,
  { connection, jsm }: Shop,
  what: string,
  { json, maxMessages, path }: Flags & { path: string | undefined },
): Promise<ExitCode> {
  let candidate: Awaited<ReturnType<typeof readCandidate>>;
  try {
    candidate = await readCandidate(what, { path });
  } catch (cause) {
    if (!(cause instanceof CompileError || cause instanceof UnknownCandidateError)) throw cause;
    const text = cause instanceof CompileError ? `Cannot compile ${what}:\n${cause.message}` : cause.message;
    note(output, colour(output, "red", text, output.err));
    return cause instanceof CompileError ? 1 : 2;
  }
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  await using store = new SchemaStore(connection, { source: "/ops", log });
  const previews: Preview[] = [];
  using bar = new CountBar(output);
  for await (const preview of previewChange({ connection, jsm, store }, candidate, {
    maxMessages,
    onPage: bar.show,
  })) {
    previews.push(preview);
    if (!json) {
      bar.clear();
      printPreview(output, preview);
    }
  }
  if (json) printJson(output, { changes: previews });
  const refused = previews.filter((preview) => preview.refused.length > 0);
  if (previews.length === 0) note(output, "nothing that is stored would change");
  else {
    const verdict = refused.length === 0 ? "none would be refused" : `${refused.length} would be refused`;
    const format = refused.length === 0 ? "green" : "red";
    note(
      output,
      `${counted(previews.length, "subject")} would change, ${colour(output, format, verdict, output.err)}`,
    );
  }
  return refused.length === 0 ? 0 : 1;
}

function printPreview(output: Output, preview: Preview): void {
  const { subject, mode, refused, differences, readers, retained, waiting, partly } = preview;
  print(output, colour(output, "bold", subject));
  for (const line of refused) print(output, `  ${colour(output, "red", "refused")}: ${line}`);
  for (const line of differences) print(output, `  ${line}`);
  print(output, `  modes: ${modes.map((it) => modeText(output, it, preview)).join(", ")}; ${mode} holds`);
  print(output, `  read by ${readers.join(", ") || "nobody"}`);
  if (refused.length === 0 && preview.modes.FORWARD > 0) {
    print(
      output,
      `  ${colour(output, "yellow", "deploy the readers first")}: those of today would park what it stores`,
    );
  }
  const rows = [
    ...retained.map((it) => countRow(output, partly ? "retained (so far)" : "retained", it)),
    ...waiting.map((it) => countRow(output, it.what, it)),
  ];
  for (const line of columns(rows)) print(output, `  ${line}`);
}

function modeText(output: Output, mode: Mode, { modes: faults }: Preview): string {
  return faults[mode] === 0
    ? `${mode} ${colour(output, "green", "ok")}`
    : `${mode} ${colour(output, "red", "no")}`;
}

function countRow(output: Output, what: string, { id, version, count, readable }: SchemaCount): string[] {
  const named = id === undefined ? "no known schema" : `schema ${id}`;
  const stranded = colour(output, "red", "stranded: cannot be read");
  const verdict = readable === undefined ? "cannot be told" : readable ? "can be read" : stranded;
  return [what, String(count), version === undefined ? named : `${named}, version ${version}`, verdict];
}

/** How far the count of one subject is. */
class CountBar implements Disposable {
  readonly #output: Output;
  #subject: string | undefined;
  #shown = 0;
  #bar: ReturnType<typeof progress> | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  readonly show = (subject: string, looked: number, left: number): void => {
    if (subject !== this.#subject) {
      this.clear();
      this.#subject = subject;
      this.#shown = 0;
      // One page is no wait.
      if (left > 0) this.#bar = progress(this.#output, subject, Math.ceil((looked + left) / PAGE));
    }
    for (; this.#shown < Math.floor(looked / PAGE); this.#shown++) this.#bar?.step();
  };

  clear(): void {
    this.#bar?.[Symbol.dispose]();
    this.#bar = undefined;
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

const PAGE = 1_000;
