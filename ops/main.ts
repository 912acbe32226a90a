// `npm run ops -- <command>`.
import { runOps } from "./program.ts";

process.exitCode = await runOps(process.argv.slice(2), {
  output: { out: process.stdout, err: process.stderr },
});
