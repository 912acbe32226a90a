import { type LoadOptions, type LoadResult, runLoad } from "./load.ts";
import { readCpu } from "./processes.ts";
import type { Latency } from "./stats.ts";
import type { Target } from "./target.ts";

/** What one level of load came to. Times are milliseconds. */
export interface Level {
  readonly concurrency: number;
  readonly perSecond: number;
  readonly accept: Latency;
  readonly end: Latency;
  readonly errors: number;
  readonly firstErrors: readonly string[];
  /** CPU time for each order by process; undefined where the system does not tell. */
  readonly cpuMs?: Readonly<Record<string, number>> | undefined;
  /** CPU time of the load generator for each order. */
  readonly generatorMs: number;
  /** Stored for each order; undefined if the target does not count them. */
  readonly messages?: number | undefined;
}

interface Sample {
  readonly cpu: Record<string, number> | undefined;
  readonly generatorMs: number;
  readonly messages: number | undefined;
}

/** What is measured: a target, or a part of one. */
export type Measured = Pick<Target, "checkout" | "pids" | "messages">;

/** Runs one level and takes what it costs from the counters before and after its window. */
export async function measureLevel(
  target: Measured,
  options: Omit<LoadOptions<Sample>, "sample">,
): Promise<Level> {
  const sample = async (): Promise<Sample> => {
    const { user, system } = process.cpuUsage();
    const cpu = readCpu(target.pids());
    return { cpu, generatorMs: (user + system) / 1_000, messages: await target.messages?.() };
  };
  return levelOf(await runLoad(target.checkout, { ...options, sample }));
}

function levelOf(result: LoadResult<Sample>): Level {
  const { concurrency, perSecond, accept, end, errors, firstErrors, completed, opened, closed } = result;
  const perOrder = (of: (sample: Sample) => number | undefined) => {
    const [from, to] = [of(opened), of(closed)];
    return from === undefined || to === undefined ? undefined : (to - from) / completed;
  };
  const names = Object.keys(closed.cpu ?? {});
  const cpu = names.map((name) => [name, perOrder((sample) => sample.cpu?.[name]) ?? Number.NaN]);
  return {
    concurrency,
    perSecond,
    accept,
    end,
    errors,
    firstErrors,
    cpuMs: closed.cpu && Object.fromEntries(cpu),
    generatorMs: perOrder((sample) => sample.generatorMs) ?? Number.NaN,
    messages: perOrder((sample) => sample.messages),
  };
}

/** The sum over all processes. */
export function totalCpuMs({ cpuMs }: Level): number | undefined {
  return cpuMs && Object.values(cpuMs).reduce((sum, ms) => sum + ms, 0);
}
