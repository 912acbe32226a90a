import { spawn } from "node:child_process";
import { join } from "node:path";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import type { Output } from "./output.ts";

/** An output that is no terminal, and what was written to it. */
export function collect(): { output: Output; text: () => { out: string; err: string } } {
  const text = { out: "", err: "" };
  const into = (name: "out" | "err") =>
    new Writable({
      decodeStrings: false,
      write(chunk: string, _, done) {
        text[name] += chunk;
        done();
      },
    });
  return { output: { out: into("out"), err: into("err") }, text: () => ({ ...text }) };
}

/** Runs a command line of bash, in which `$OPS` is `npm run ops --`, as a process of its own. */
export async function shell(
  command: string,
  { cwd, environment }: { cwd?: string; environment: Readonly<Record<string, string>> },
): Promise<{ code: number | null; out: string; err: string }> {
  const ops = `"${process.execPath}" "${join(import.meta.dirname, "main.ts")}"`;
  const child = spawn("bash", ["-c", command.replaceAll("$OPS", ops)], {
    cwd,
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, err };
}
