// `npm run bench -- [benchmark]`.
import { createProgram } from "./program.ts";

const program = createProgram();
await program.parseAsync();
// Nothing is left to be waited for, and a peer's client may keep a socket open.
process.exit(process.exitCode);
