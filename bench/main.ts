// `npm run bench -- [benchmark]`.
import { createProgram } from "./program.ts";

// A terminal or a pager that is closed takes the output away; measuring goes on, and the document is written.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
await createProgram().parseAsync();
// Nothing is left to be waited for, and a client may have kept a socket open.
process.exit(process.exitCode);
