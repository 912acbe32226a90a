import { clearScreenDown, cursorTo } from "node:readline";
import type { Command } from "commander";
import { type ConsumerLag, counted, isUnavailable, OpenLetters, pause, readLags } from "../nats/mod.ts";
import { type Live, readLive } from "../services/monitor/live.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, type Output, print, printJson, type Stream } from "./output.ts";
import type { Context } from "./program.ts";
import { untimedOrders } from "./untimed.ts";

const REFRESH_MS = 1_000;
/** Seconds of lag that are red. The objective of the alert `ConsumerLagOverObjective`. */
const OBJECTIVE_S = 60;

interface Flags {
  json?: boolean;
  once?: boolean;
}

/** What `lag` shows. */
interface Seen {
  readonly lags: readonly ConsumerLag[];
  readonly live: Live;
  /** Live orders that have lost their timer. */
  readonly untimed: number;
}

/** `lag`: how far every durable consumer is behind, whether its service runs or not. */
export function addLag(program: Command, { output, run, interrupted }: Context): void {
  program
    .command("lag")
    .description("how far every consumer is behind, in messages and in seconds, and what orders wait in")
    .option("--json", "print JSON, once")
    .option("--once", "print once; a terminal is refreshed every second else, until Ctrl-C")
    .action((flags: Flags) =>
      run(async (shop) => {
        if (output.out.isTTY && !flags.once && !flags.json) return refresh(output, shop, interrupted());
        const seen = await look(shop, await openLook(shop));
        if (flags.json) printJson(output, lagJson(seen));
        else for (const line of table(output, seen)) print(output, line);
        // A consumer that is not there gets nothing, and is behind by nothing.
        return seen.lags.some(({ missing }) => missing) || seen.untimed > 0 ? 1 : 0;
      }),
    );
}

/** What is not read anew with every look. */
interface Kept {
  readonly untimed: number;
  readonly letters: OpenLetters;
}

async function openLook(shop: Shop): Promise<Kept> {
  // Reads many states, so that it is not done every second.
  const { length: untimed } = await untimedOrders(shop);
  return { untimed, letters: new OpenLetters(shop.jsm) };
}

async function look({ connection, jsm }: Shop, { untimed, letters }: Kept): Promise<Seen> {
  const lags = await readLags(jsm);
  return { lags, live: await readLive({ connection, jsm }, { lags, letters }), untimed };
}

async function refresh(output: Output, shop: Shop, signal: AbortSignal): Promise<ExitCode> {
  const kept = await openLook(shop);
  while (!signal.aborted) {
    let lines: string[];
    try {
      lines = table(output, await look(shop, kept));
    } catch (cause) {
      // Servers come back; who watches a lag watches them do so.
      if (!isUnavailable(cause)) throw cause;
      lines = [colour(output, "red", "The servers do not answer; trying again")];
    }
    if (signal.aborted) break;
    draw(output.out, [`${new Date().toLocaleTimeString()}   Ctrl-C ends`, "", ...lines]);
    await pause(REFRESH_MS, signal);
  }
  return 0;
}

/** From the top; what was there before is gone with the rest of the screen. */
function draw(out: Stream, lines: readonly string[]): void {
  cursorTo(out, 0, 0);
  clearScreenDown(out);
  out.write(`${lines.join("\n")}\n`);
}

function table(output: Output, { lags, live, untimed }: Seen): string[] {
  const services = [...Map.groupBy(lags, ({ consumer }) => consumer)];
  const rows = services.flatMap(([service, own]) =>
    own.map((lag, index) => [index === 0 ? service : "", ...cellsOf(lag)]),
  );
  const [head = "", ...consumers] = columns([["SERVICE", "STREAM", "PENDING", "UNACKED", "OLDEST"], ...rows]);
  const missing = lags.filter((lag) => lag.missing).map(({ stream, consumer }) => `${consumer} of ${stream}`);
  const paused = lags.filter((lag) => lag.pausedUntil !== undefined).map(pausedText);
  const behind = services.flatMap(([service, own]) => {
    const sum = own.reduce((total, { pending, unacked }) => total + pending + unacked, 0);
    return sum > 0 ? [`${service} ${sum}`] : [];
  });
  const states = [...live.states].filter(([, { count }]) => count > 0);
  const checkouts = states.map(([state, { count, oldestSeconds }]) => [
    state,
    String(count),
    duration(oldestSeconds),
  ]);
  return [
    head,
    ...consumers.map((line, index) => {
      const lag = lags[index];
      return lag?.missing || (lag?.seconds ?? 0) > OBJECTIVE_S ? colour(output, "red", line) : line;
    }),
    "",
    `behind: ${behind.join(", ") || (missing.length > 0 ? "nobody else" : "nobody")}`,
    ...(missing.length > 0
      ? [
          colour(
            output,
            "red",
            `missing, and told nothing: ${missing.join(", ")}; npm run topology makes them`,
          ),
        ]
      : []),
    ...(paused.length > 0
      ? [colour(output, "yellow", `paused, and told nothing: ${paused.join(", ")}`)]
      : []),
    "",
    ...columns(
      checkouts.length === 0 ? [["no order is under way"]] : [["STATE", "ORDERS", "OLDEST"], ...checkouts],
    ),
    ...(live.unseen > 0 ? [`and ${live.unseen} more that were not looked at`] : []),
    ...stuckLines(live).map((line) => colour(output, "red", line)),
    ...(untimed > 0
      ? [colour(output, "red", `${untimed} without a timer: the coordinator's sweep sets it anew`)]
      : []),
    ...(live.overdue > 0 ? [colour(output, "red", `${live.overdue} past their deadline`)] : []),
  ];
}

/** Orders that dead letters hold up; those that cannot begin are in no state that is listed. */
function stuckLines({ stuck, notBegun }: Live): string[] {
  if (stuck === 0) return [];
  const begin = notBegun === 0 ? "" : `, ${notBegun} of which cannot begin`;
  return [
    `${counted(stuck, "order is", "orders are")} held up by dead letters${begin}: npm run ops -- orders --stuck`,
  ];
}

function pausedText({ stream, consumer, pausedUntil }: ConsumerLag): string {
  return `${consumer} of ${stream} until ${pausedUntil?.toISOString()}`;
}

function cellsOf({ stream, missing, pending, unacked, seconds }: ConsumerLag): string[] {
  if (missing) return [stream, "missing", "", ""];
  const isBehind = pending + unacked > 0;
  return [stream, String(pending), String(unacked), isBehind ? duration(seconds) : "-"];
}

/** `0.4s`, `12s`, `3m 12s`, `2h 5m`, `3d 4h`. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  const units = [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
    ["s", 1],
  ] as const;
  const first = units.findIndex(([, size]) => whole >= size);
  return units
    .slice(first, first + 2)
    .map(([name, size], index) => {
      const rest = index === 0 ? whole : whole % (units[first]?.[1] ?? 1);
      return `${Math.floor(rest / size)}${name}`;
    })
    .join(" ");
}

export function lagJson({ lags, live, untimed }: Seen) {
  const services = [...Map.groupBy(lags, ({ consumer }) => consumer)].map(([service, own]) => ({
    service,
    consumer_lag_sum: own.reduce((sum, { pending, unacked }) => sum + pending + unacked, 0),
    lag_seconds: Math.max(...own.map(({ seconds }) => seconds)),
    consumers: own.map(({ stream, missing, pausedUntil, pending, unacked, redelivered, seconds }) => ({
      stream,
      missing,
      ...(pausedUntil && { paused_until: pausedUntil.toISOString() }),
      pending,
      unacked,
      redelivered,
      lag_seconds: seconds,
    })),
  }));
  const checkouts = [...live.states].map(([state, { count, oldestSeconds }]) => ({
    state,
    count,
    oldest_seconds: oldestSeconds,
  }));
  const { overdue, stuck, notBegun: not_begun, unseen } = live;
  return { services, checkouts, overdue, stuck, not_begun, unseen, untimed };
}
