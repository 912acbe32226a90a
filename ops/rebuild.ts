import { z } from "zod";
import { pause, ReplayError, type ReplayPlan } from "../nats/mod.ts";
import { ProjectionStatus } from "../services/analytics/api.ts";
import { type ExitCode, note, type Output, type Progress, printJson, progress } from "./output.ts";

/** How often the projection is asked how far it is. */
const POLL_MS = 250;
const ANSWER_TIMEOUT_MS = 15_000;
/** A process that is started again is back by then, and its database. */
const PATIENCE_MS = 60_000;
/** A line where there is no terminal. */
const LINES_EVERY_MS = 5_000;

export interface RebuildOptions {
  /** Of the service whose projection it is. */
  url: string;
  operatorToken: string;
  output: Output;
  json: boolean;
  /** Ctrl-C: the rebuild goes on, and is not watched any longer. */
  signal: AbortSignal;
}

/**
 * Has a projection rebuilt and watches until it has taken the place of the one that answers.
 * @throws {ReplayError} If the service does not answer, or a rebuild is under way.
 */
export async function rebuild(plans: readonly ReplayPlan[], options: RebuildOptions): Promise<ExitCode> {
  const { url, operatorToken, output, json, signal } = options;
  const authorization = `Bearer ${operatorToken}`;
  const first = await ask(`${url}/rebuild`, { method: "POST", headers: { authorization } });
  const startedAt = first.rebuild?.started_at;
  if (!json) note(output, "Counting everything anew beside what answers");
  let status = first;
  let bar: Progress | undefined;
  let read = 0;
  try {
    while (!signal.aborted && status.rebuild !== undefined && status.rebuild.started_at === startedAt) {
      const { rebuild } = status;
      if (rebuild.total > 0)
        bar ??= progress(output, "Rebuilding", rebuild.total, { linesEveryMs: LINES_EVERY_MS });
      bar?.step(Math.max(0, rebuild.read - read));
      read = Math.max(read, rebuild.read);
      await pause(POLL_MS, signal);
      status = await look(url, { silentSince: performance.now(), signal });
    }
  } finally {
    bar?.[Symbol.dispose]();
  }
  const services = [...new Set(plans.map(({ spec }) => spec.service))].join(", ");
  const ended = status.rebuild === undefined ? status.last_rebuild : undefined;
  const refused = ended?.refused;
  const swapped = ended !== undefined && refused === undefined;
  const outcome = swapped ? "rebuilt" : refused === undefined ? "under_way" : "refused";
  if (json) printJson(output, { outcome, projection: status });
  else if (refused !== undefined) note(output, refused);
  else if (swapped) note(output, `Rebuilt: ${services} answers from the new one`);
  else note(output, `The rebuild goes on: GET ${url}/projection says how far it is`);
  return swapped || signal.aborted ? 0 : 1;
}

/** Asks again while the service or its database does not answer: the rebuild goes on with them. */
async function look(
  url: string,
  { silentSince, signal }: { silentSince: number; signal: AbortSignal },
): Promise<ProjectionStatus> {
  for (;;) {
    try {
      return await ask(`${url}/projection`);
    } catch (cause) {
      if (signal.aborted || performance.now() - silentSince > PATIENCE_MS) throw cause;
      await pause(POLL_MS, signal);
    }
  }
}

async function ask(url: string, init: RequestInit = {}): Promise<ProjectionStatus> {
  let answer: Response;
  try {
    answer = await fetch(url, { ...init, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  } catch (cause) {
    throw new ReplayError(
      `Cannot rebuild: nobody answers at ${new URL(url).origin}; set ANALYTICS_URL if analytics is elsewhere`,
      { cause },
    );
  }
  const body: unknown = await answer.json().catch(() => undefined);
  if (answer.ok) return ProjectionStatus.parse(body);
  const { data } = z.object({ detail: z.string() }).safeParse(body);
  throw new ReplayError(
    `Cannot rebuild: ${data?.detail ?? `${new URL(url).origin} answers ${answer.status}`}`,
  );
}
