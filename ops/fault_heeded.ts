import { setTimeout as sleep } from "node:timers/promises";
import { FAULT_METRIC, type Fault } from "../lib/mod.ts";

/** Services look once a second what is set, and may be busy. */
const HEEDED_WITHIN_MS = 5_000;
const ASK_AGAIN_MS = 50;
const ANSWER_WITHIN_MS = 1_000;

/**
 * Resolves when every service of `faults` says in its metrics that it does as they say, or when one has not said so in time.
 *
 * @param urlOf Base URL of a service.
 * @returns A line for each service that has not said so, with the reason.
 */
export async function untilHeeded(
  faults: readonly Fault[],
  urlOf: (service: string) => string,
): Promise<string[]> {
  const services = [...new Set(faults.map(({ service }) => service))];
  const problems = await Promise.all(
    services.map(async (service) => {
      const url = `${urlOf(service)}/metrics`;
      const why = await untilOne(
        url,
        faults.filter((fault) => fault.service === service),
      );
      return why && `${service} has not said that it heeds this: ${why} (${url})`;
    }),
  );
  return problems.filter((problem) => problem !== undefined);
}

/** Why it has not said so in time; undefined if it has. */
async function untilOne(url: string, faults: readonly Fault[]): Promise<string | undefined> {
  const giveUpAt = performance.now() + HEEDED_WITHIN_MS;
  for (;;) {
    const why = await ask(url, faults);
    if (why === undefined || performance.now() > giveUpAt) return why;
    await sleep(ASK_AGAIN_MS);
  }
}

async function ask(url: string, faults: readonly Fault[]): Promise<string | undefined> {
  let text: string;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    text = await answer.text();
    if (!answer.ok) return `it answers ${answer.status}`;
  } catch (cause) {
    return `it does not answer (${(cause as Error).message})`;
  }
  const values = readValues(text);
  if (values.size === 0) return "it heeds no faults: start it with FAULTS=on";
  return faults.every(({ kind, value }) => (values.get(kind) ?? 0) === value)
    ? undefined
    : "it does not do so yet";
}

/** The values of {@linkcode FAULT_METRIC} by kind. @param text Of a `/metrics`. */
function readValues(text: string): Map<string, number> {
  const samples = text.matchAll(new RegExp(`^${FAULT_METRIC}\\{[^}]*kind="(\\w+)"[^}]*\\} (\\S+)$`, "gm"));
  return new Map([...samples].map(([, kind = "", value]) => [kind, Number(value)]));
}
