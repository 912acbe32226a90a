// `node services/health_check.ts <name>` ends with 0 if the service of that name is ready, in the same container: an
// image of Node has nothing else that speaks HTTP.
import { readyUrl, serviceNamed } from "./command.ts";

/** A service that is too busy to answer for so long is not healthy. */
const TIMEOUT_MS = 3_000;

const url = readyUrl(serviceNamed(process.argv[2]), process.env);
try {
  const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  // Docker shows what was said last.
  console.log(await answer.text());
  process.exitCode = answer.ok ? 0 : 1;
} catch (cause) {
  console.log(`No answer from ${url}: ${cause instanceof Error ? cause.message : cause}`);
  process.exitCode = 1;
}
