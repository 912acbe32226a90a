// `npm run buf:breaking`: the first gate, for CI.
import { spawnSync } from "node:child_process";
import { parseArgs, styleText } from "node:util";
import { createFileRegistry, type DescFile } from "@bufbuild/protobuf";
import { type Contract, DEFAULT_COMPATIBILITY, readersOf, topology } from "../nats/mod.ts";
import { build, CompileError, check, describe, type FileSet } from "../schemas/mod.ts";
import { projectFolder } from "./nats_server.mjs";

const help = `Usage: npm run buf:breaking

Compares proto/ with what it was, and ends with 1 if messages or their readers would break: by \`buf breaking\`
(WIRE_JSON, no message deleted), and by ${DEFAULT_COMPATIBILITY}, the rule that a service's schemas have to meet when it
starts. For each message that is stored it says who reads it.

Environment:
  BUF_AGAINST  what to compare with, as buf names it: .git#branch=main, .git#tag=v1, .git#ref=<commit>, a folder.
               Default: the branch main, or the commit before where nothing differs from that`;

/** What a message would be, for one that would break somebody. */
export interface Break {
  readonly subject: string;
  readonly reasons: readonly string[];
  readonly readers: readonly string[];
}

/** The contracts whose readers would break if \`after\` replaced \`before\`. */
export function findBreaks(
  before: FileSet,
  after: FileSet,
  contracts: readonly Contract[] = topology.contracts ?? [],
): Break[] {
  return contracts.flatMap((contract) => {
    const { subject, schema } = contract;
    const old = before.getMessage(schema.typeName)?.file;
    if (old === undefined) return [];
    const reasons = reasonsAgainst(old, after.getMessage(schema.typeName)?.file, schema.typeName);
    return reasons.length === 0 ? [] : [{ subject, reasons, readers: readersOf(contract) }];
  });
}

function reasonsAgainst(old: DescFile, file: DescFile | undefined, typeName: string): string[] {
  if (file === undefined) return [`${typeName} is gone`];
  return check(DEFAULT_COMPATIBILITY, file, [{ version: 1, file: old }]).map((found) =>
    describe(found, "what was"),
  );
}

async function main(
  args: readonly string[],
  against = process.env.BUF_AGAINST || defaultRevision(),
): Promise<number> {
  try {
    const { values } = parseArgs({ args: [...args], options: { help: { type: "boolean" } } });
    if (values.help) {
      console.log(help);
      return 0;
    }
  } catch (cause) {
    console.error(`${cause instanceof Error ? cause.message : cause}\n\n${help}`);
    return 2;
  }
  const buf = spawnSync("buf", ["breaking", "--against", against], { cwd: projectFolder, stdio: "inherit" });
  if (buf.error !== undefined) throw buf.error;
  const path = process.env.PATH;
  let breaks: Break[];
  try {
    const [before, after] = await Promise.all(
      [against, "."].map(async (input) =>
        createFileRegistry(await build(input, { cwd: projectFolder, path })),
      ),
    );
    breaks = before && after ? findBreaks(before, after) : [];
  } catch (cause) {
    if (!(cause instanceof CompileError)) throw cause;
    console.error(
      styleText("red", `Cannot compare with ${against}:\n${cause.message}`, { stream: process.stderr }),
    );
    return 1;
  }
  for (const { subject, reasons, readers } of breaks) {
    console.error(styleText("red", `${subject}: ${reasons.join("; ")}`, { stream: process.stderr }));
    console.error(`  read by ${readers.join(", ") || "nobody"}`);
  }
  if (buf.status === 0 && breaks.length === 0) {
    console.log(`Nothing breaks, compared with ${against}`);
    return 0;
  }
  return 1;
}

/**
 * The main branch, or what was there before where that says nothing: on the main branch itself with nothing changed, the
 * commit before; where there is no main branch, as in a checkout of one commit, that commit.
 */
function defaultRevision(): string {
  const git = (...args: string[]) => spawnSync("git", args, { cwd: projectFolder, encoding: "utf8" });
  const commit = (revision: string) =>
    git("rev-parse", "--verify", "--quiet", `${revision}^{commit}`).stdout.trim();
  const main = commit("refs/heads/main") || commit("refs/remotes/origin/main") || commit("HEAD");
  const isSame = main === commit("HEAD") && git("status", "--porcelain", "proto").stdout === "";
  return `.git#ref=${(isSame && commit("HEAD~1")) || main}`;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
