import { type Command, InvalidArgumentError, Option } from "commander";
import { counted } from "../nats/mod.ts";
import type { OpsConfig } from "./config.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, note, type Output, print, printJson, progress } from "./output.ts";
import type { Context } from "./program.ts";
import { type MixName, mixes, mixNames, ordersOf } from "./traffic_mixes.ts";
import { hasEnded, isOnItsWay, runTraffic, type Traffic, type TrafficOrder } from "./traffic_run.ts";

/** More is a load test, which `npm run bench` is for. */
const MAX_RATE = 200;
const MAX_SECONDS = 3_600;
/** All are kept in memory and looked at again until they have ended. */
const MAX_ORDERS = 100_000;
/** Longer than the slowest ending takes, `slow provider`: half a minute until the charge is given up, and the refund. */
const DEFAULT_WAIT_S = 60;
const LINES_EVERY_MS = 10_000;

interface Flags {
  rate: number;
  mix: MixName;
  /** In seconds, as `wait`. */
  for: number;
  wait: number;
  json?: boolean;
}

/** `traffic`: orders of every ending at a rate, and what becomes of them. */
export function addTraffic(program: Command, { config, output, run, interrupted }: Context): void {
  program
    .command("traffic")
    .description(
      "place orders of the sandbox at a rate, and say what became of them; Ctrl-C stops it, with the summary",
    )
    .option("--rate <n>", `orders a second, ${MAX_RATE} at most`, rate, 5)
    .addOption(new Option("--mix <name>", "which kinds of orders").choices(mixNames).default("default"))
    .option("--for <time>", "how long, such as 90s, 2m or 1h, which is the most", seconds, 30)
    .option("--wait <time>", "how long they may take to end after that", seconds, DEFAULT_WAIT_S)
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `\nMixes:\n${mixHelp()}\n\nEnds with 1 if orders were refused, or ended otherwise than their kind does.`,
    )
    .action((flags: Flags, command: Command) => {
      const total = Math.ceil(flags.rate * flags.for);
      if (total > MAX_ORDERS)
        command.error(`error: ${total} orders are more than ${MAX_ORDERS}: less of --rate or --for`);
      const signal = interrupted();
      return run((shop) => traffic(output, shop, { ...flags, total, config, signal }));
    });
}

function mixHelp(): string {
  const rows = mixNames.map((name) => {
    const kinds = Object.entries(mixes[name]).map(([kind, weight]) => `${kind} ${weight}`);
    return [`  ${name}`, kinds.join(", ")];
  });
  return columns(rows).join("\n");
}

function rate(text: string): number {
  const number = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (number > 0 && number <= MAX_RATE) return number;
  throw new InvalidArgumentError(`It is no number over 0 and up to ${MAX_RATE}.`);
}

const UNITS = { s: 1, m: 60, h: 3_600 } as const;

function seconds(text: string): number {
  const [, number = "", unit = "s"] = /^(\d{1,4}(?:\.\d{1,3})?)([smh])?$/.exec(text) ?? [];
  const time = Number(number || Number.NaN) * UNITS[unit as keyof typeof UNITS];
  if (time > 0 && time <= MAX_SECONDS) return time;
  throw new InvalidArgumentError(`It is no time such as 90s or 2m, up to ${MAX_SECONDS / UNITS.h}h.`);
}

async function traffic(
  output: Output,
  { jsm }: Shop,
  { config, total, signal, ...flags }: Flags & { config: OpsConfig; total: number; signal: AbortSignal },
): Promise<ExitCode> {
  const { operatorToken } = config;
  const [orderUrl, fraudUrl] = [config.urlOf("order"), config.urlOf("fraud")];
  const problem = await whyClosed(orderUrl);
  if (problem !== undefined) {
    note(output, colour(output, "red", `Cannot place orders at ${orderUrl}: ${problem}`, output.err));
    return 1;
  }
  const began = performance.now();
  using bar = progress(output, "Orders", total, { linesEveryMs: LINES_EVERY_MS });
  const result = await runTraffic({
    jsm,
    orderUrl,
    fraudUrl,
    operatorToken,
    kinds: ordersOf(mixes[flags.mix]),
    rate: flags.rate,
    total,
    waitMs: flags.wait * 1_000,
    signal,
    onDue: () => bar.step(),
    onPlaced: () => {
      bar[Symbol.dispose]();
      if (!signal.aborted) note(output, `waiting for them to end, ${flags.wait} s at most`);
    },
  });
  const seconds = (performance.now() - began) / 1_000;
  if (flags.json) printJson(output, trafficJson(result, { mix: flags.mix, rate: flags.rate, seconds }));
  else summarize(output, result, seconds);
  const wrong = result.refused.size > 0 || result.orders.some(isOtherwise);
  return wrong ? 1 : 0;
}

/** Why no order can be placed; undefined if it can be tried. */
async function whyClosed(orderUrl: string): Promise<string | undefined> {
  try {
    await fetch(`${orderUrl}/healthz`, { signal: AbortSignal.timeout(5_000) });
    return undefined;
  } catch (cause) {
    if (!(cause instanceof TypeError || cause instanceof DOMException)) throw cause;
    return "no answer; does the shop run, and are ORDER_URL or ORDER_PORT as it has them?";
  }
}

/** What an order came to: its state, or the reason of its cancellation. */
function becameOf({ state, reason }: TrafficOrder): string {
  return state === "cancelled" ? reason : state;
}

/** Whether it has ended as no order of its kind does. One that a person decided ended as that person wanted. */
function isOtherwise(order: TrafficOrder): boolean {
  const { kind, state } = order;
  return hasEnded(state) && kind.ends.length > 0 && !kind.ends.includes(becameOf(order));
}

function countBy<T>(items: readonly T[], of: (item: T) => string): [string, number][] {
  return [...Map.groupBy(items, of)].map(([name, { length }]) => [name, length]);
}

function summarize(output: Output, { orders, refused, skipped }: Traffic, seconds: number): void {
  const rows = [...Map.groupBy(orders, ({ kind }) => kind.name)].map(([kind, own]) => [
    kind,
    String(own.length),
    countBy(own, becameOf)
      .map(([became, count]) => `${became} ${count}`)
      .join(", "),
    own.find(isOtherwise)?.orderId ?? own[0]?.orderId ?? "",
  ]);
  const otherwise = orders.filter(isOtherwise).length;
  for (const line of columns([["KIND", "ORDERS", "BECAME", "FOR EXAMPLE"], ...rows])) print(output, line);
  const ended = orders.filter(({ state }) => hasEnded(state)).length;
  const waiting = orders.filter((order) => !hasEnded(order.state) && !isOnItsWay(order)).length;
  const parts = [
    `${counted(orders.length, "order")} in ${Math.round(seconds)} s`,
    `${ended} ended`,
    ...(ended + waiting < orders.length ? [`${orders.length - ended - waiting} under way`] : []),
    ...(waiting > 0 ? [`${counted(waiting, "review")} left to you`] : []),
    ...(skipped > 0 ? [`${skipped} not sent: the shop answers more slowly than they were to come`] : []),
  ];
  note(output, parts.join(", "));
  if (otherwise > 0)
    note(
      output,
      colour(output, "red", `${counted(otherwise, "order")} ended otherwise than the kind does`, output.err),
    );
  for (const [why, count] of refused)
    note(output, colour(output, "red", `${counted(count, "order")} refused: ${why}`, output.err));
}

function trafficJson(
  { orders, refused, skipped }: Traffic,
  { mix, rate, seconds }: { mix: string; rate: number; seconds: number },
) {
  return {
    mix,
    rate,
    seconds: Math.round(seconds * 10) / 10,
    orders: orders.length,
    ended: orders.filter(({ state }) => hasEnded(state)).length,
    otherwise: orders.filter(isOtherwise).length,
    refused: Object.fromEntries(refused),
    skipped,
    kinds: [...Map.groupBy(orders, ({ kind }) => kind.name)].map(([kind, own]) => ({
      kind,
      orders: own.length,
      became: Object.fromEntries(countBy(own, becameOf)),
      order_ids: own.map(({ orderId }) => orderId),
    })),
  };
}
