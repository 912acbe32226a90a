// One command of `npm run ops`, and what it took in the end, told to the parent. Started by export.ts.
import { runOps } from "../ops/program.ts";

const began = performance.now();
const code = await runOps(process.argv.slice(2), { output: { out: process.stdout, err: process.stderr } });
const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
process.send?.({
  code,
  seconds: (performance.now() - began) / 1_000,
  cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
  peakBytes: maxRSS * 1_024,
});
process.disconnect?.();
