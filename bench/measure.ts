import { type Backlog, workedOff } from "./backlog.ts";
import { type LoadOptions, type LoadResult, runLoad } from "./load.ts";
import { readCpu } from "./processes.ts";
import { probeDisk, type Quiet, readBusyMs, shareOfMachine } from "./quiet.ts";
import type { Target } from "./target.ts";

/** What one level of load came to. Times are milliseconds. */
export interface Level extends Omit<LoadResult<unknown>, "opened" | "closed">, Quiet, Backlog {
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
  readonly backlog: number | undefined;
  readonly busyMs: number | undefined;
  readonly at: number;
}

/** What is measured: a target, or a part of one. */
export type Measured = Pick<Target, "checkout" | "pids" | "messages" | "backlog">;

/**
 * Runs one level and takes what it costs from the counters before and after its window. Ends when nothing is left to do.
 * @param options.folder On the disk that the target writes to.
 */
export async function measureLevel(
  target: Measured,
  { folder, ...options }: Omit<LoadOptions<Sample>, "sample"> & { folder: string },
): Promise<Level> {
  const probeMs = probeDisk(folder);
  const sample = async (): Promise<Sample> => {
    const { user, system } = process.cpuUsage();
    const now = {
      cpu: readCpu(target.pids()),
      busyMs: readBusyMs(),
      at: performance.now(),
      generatorMs: (user + system) / 1_000,
    };
    const [messages, backlog] = await Promise.all([target.messages?.(), target.backlog?.()]);
    return { ...now, messages, backlog };
  };
  const result = await runLoad(target.checkout, { ...options, sample });
  return { ...levelOf(result), probeMs, unfinished: await workedOff(target, options) };
}

function levelOf(result: LoadResult<Sample>): Omit<Level, "probeMs"> {
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
    completed,
    accept,
    end,
    errors,
    firstErrors,
    cpuMs: closed.cpu && Object.fromEntries(cpu),
    generatorMs: perOrder((sample) => sample.generatorMs) ?? Number.NaN,
    messages: perOrder((sample) => sample.messages),
    leftBehind: perOrder((sample) => sample.backlog),
    foreign: foreignShare(opened, closed),
  };
}

function foreignShare(opened: Sample, closed: Sample): number | undefined {
  const othersMs = ({ busyMs, cpu, generatorMs }: Sample) =>
    busyMs === undefined || cpu === undefined ? undefined : busyMs - generatorMs - sum(Object.values(cpu));
  const [from, to] = [othersMs(opened), othersMs(closed)];
  return from === undefined || to === undefined
    ? undefined
    : shareOfMachine(to - from, closed.at - opened.at);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The sum over all processes. */
export function totalCpuMs({ cpuMs }: Level): number | undefined {
  return cpuMs && sum(Object.values(cpuMs));
}
