import { Writable } from "node:stream";
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
