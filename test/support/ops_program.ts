// `npm run ops -- <command>` for a test that kills it: its replays pause a consumer for as many milliseconds as the first
// argument says.
import { runOps } from "../../ops/program.ts";

const [pauseMs, ...args] = process.argv.slice(2);
process.exitCode = await runOps(args, {
  output: { out: process.stdout, err: process.stderr },
  replayTimes: { pauseMs: Number(pauseMs) },
});
