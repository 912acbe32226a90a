import { type Command, InvalidArgumentError } from "commander";
import {
  type ConsumerSpec,
  counted,
  nameOf,
  planReplay,
  ReplayError,
  type ReplayFrom,
  type ReplayOutcome,
  type ReplayPlan,
  replay,
  servicesOf,
  topology,
  totalOf,
} from "../nats/mod.ts";
import { replayFrom } from "./arguments.ts";
import type { Shop } from "./connect.ts";
import { columns, type ExitCode, note, type Output, print, printJson } from "./output.ts";
import type { Context } from "./program.ts";
import { rebuild } from "./rebuild.ts";
import { watchReplay } from "./replay_steps.ts";

interface Flags {
  from: ReplayFrom;
  by: string;
  dryRun?: boolean;
  json?: boolean;
}

/** `replay`: delivers messages again to durable consumers, without repeating what they did outside the shop. */
export function addReplay(
  program: Command,
  { config, output, run, interrupted, replayTimes }: Context,
): void {
  program
    .command("replay")
    .description("deliver messages again to a consumer; no capture, shipment or mail is repeated")
    .argument("<consumer>", "payment: all its consumers; CHECKOUT/payment: this one", readTargets)
    .requiredOption(
      "--from <position>",
      "start, a time such as 2026-01-31T08:00:00Z, a day, or a sequence of the stream",
      replayFrom,
    )
    .option("--dry-run", "only say how many messages, which services and which side effects it would touch")
    .option("--by <name>", "who does it, as it is recorded", config.by)
    .option("--json", "print JSON")
    .action((specs: readonly ConsumerSpec[], flags: Flags, command: Command) => {
      if (flags.from.kind === "sequence" && specs.length > 1) {
        const names = specs.map(consumerOf).map(nameOf).join(", ");
        command.error(`error: a sequence is one of one stream: name a consumer (${names})`);
      }
      return run((shop) => replayTo(shop, specs, { flags, config, output, interrupted, replayTimes }));
    });
}

/** @throws {InvalidArgumentError} If there is no such consumer. */
function readTargets(text: string): readonly ConsumerSpec[] {
  const { consumers } = topology;
  const found = consumers.filter((spec) => text === spec.service || text === nameOf(consumerOf(spec)));
  if (found.length > 0) return found;
  const [stream, service] = text.split("/");
  const known = servicesOf(topology).filter((name) => consumers.some((spec) => spec.service === name));
  const own = consumers.filter((spec) => service === spec.service || stream === spec.stream);
  const names = own.map(consumerOf).map(nameOf);
  throw new InvalidArgumentError(
    service === undefined || names.length === 0
      ? `There is no such consumer. Services: ${known.join(", ")}.`
      : `There is no such consumer. Those like it: ${names.join(", ")}.`,
  );
}

function consumerOf({ stream, service }: ConsumerSpec): { stream: string; name: string } {
  return { stream, name: service };
}

async function replayTo(
  shop: Shop,
  specs: readonly ConsumerSpec[],
  options: { flags: Flags } & Pick<Context, "config" | "output" | "interrupted" | "replayTimes">,
): Promise<ExitCode> {
  const { flags, output, interrupted, replayTimes } = options;
  const { from, by, dryRun = false, json = false } = flags;
  const projected = specs.filter(({ projection }) => projection === true);
  // Its position is in its database, with what it has counted: it is rebuilt, and its consumers follow.
  if (projected.length > 0) return rebuildProjection(shop, projected, options);
  const plans = await Promise.all(specs.map((spec) => planReplay(shop, spec, { from })));
  if (from.kind === "time" && plans.every(({ from: first, last }) => first > last)) {
    const streams = [...new Set(specs.map(({ stream }) => stream))].join(", ");
    throw new ReplayError(
      `Cannot replay from ${from.time.toISOString()}: nothing was stored since in ${streams}`,
    );
  }
  if (!json) for (const line of summary(plans)) print(output, line);
  const wanted = plans.filter((plan) => totalOf(plan) > 0);
  let outcome: ReplayOutcome | undefined;
  if (!dryRun && wanted.length > 0) {
    using watched = watchReplay(output);
    outcome = await replay(shop, wanted, { ...replayTimes, by, signal: interrupted(), onStep: watched.step });
  }
  const standing = outcome?.kind === "replayed" ? await standingOf(shop, wanted) : [];
  if (json) printJson(output, replayJson(plans, { dryRun, outcome, standing }));
  else conclude(output, { dryRun, wanted, outcome, standing });
  return outcome?.kind === "interrupted" ? 1 : 0;
}

/** @throws {ReplayError} If it is not asked for as a whole. */
async function rebuildProjection(
  shop: Shop,
  specs: readonly ConsumerSpec[],
  {
    flags,
    config,
    output,
    interrupted,
  }: { flags: Flags } & Pick<Context, "config" | "output" | "interrupted">,
): Promise<ExitCode> {
  const { from, dryRun = false, json = false } = flags;
  const [{ service }] = specs as [ConsumerSpec];
  const own = topology.consumers.filter((spec) => spec.service === service);
  if (from.kind !== "start" || specs.length < own.length) {
    throw new ReplayError(
      `Cannot replay a part to ${service}: it is a projection, which is rebuilt as a whole: replay ${service} --from start`,
    );
  }
  // What dead letters bring back is counted with the messages that they are of.
  const read = specs.filter(({ deadLetters }) => deadLetters !== true);
  const plans = await Promise.all(read.map((spec) => planReplay(shop, spec, { from })));
  if (!json) for (const line of summary(plans)) print(output, line);
  if (dryRun) {
    if (json) printJson(output, replayJson(plans, { dryRun, outcome: undefined, standing: [] }));
    else note(output, `Nothing was changed; services that it would touch: ${service}`);
    return 0;
  }
  const { operatorToken } = config;
  const url = config.urlOf("analytics");
  return rebuild(plans, { url, operatorToken, output, json, signal: interrupted() });
}

/** What the replay comes to, before it begins. */
function summary(plans: readonly ReplayPlan[]): string[] {
  const rows = plans.map((plan) => {
    const { from } = plan;
    return [nameOf(consumerOf(plan.spec)), String(from), String(totalOf(plan)), meaningOf(plan)];
  });
  const lines = columns([["CONSUMER", "FROM", "MESSAGES", "WHAT COMES OF IT"], ...rows]);
  const subjects = plans.flatMap(({ messages }) => [...messages]);
  const counts = columns(subjects.map(([subject, count]) => [subject, String(count)]));
  return [...lines, ...(counts.length > 0 ? ["", ...counts] : [])];
}

function meaningOf(plan: ReplayPlan): string {
  const total = totalOf(plan);
  if (total === 0) {
    const ahead = plan.last >= plan.from && plan.from > plan.upTo;
    return ahead ? "nothing: what is there is still to be handled" : "nothing: there is none";
  }
  const { effects, projection } = plan.spec;
  if (projection === true) return "counted anew beside what answers, which it then replaces";
  if (effects === undefined) return "decided again; what is stored already changes nothing";
  return `${effects}: none is repeated, ${counted(total, "message is", "messages are")} skipped`;
}

interface Standing {
  readonly consumer: string;
  readonly delivered: number;
  readonly acknowledged: number;
  readonly pending: number;
  readonly unacked: number;
}

function standingOf({ jsm }: Shop, plans: readonly ReplayPlan[]): Promise<Standing[]> {
  return Promise.all(
    plans.map(async ({ spec: { stream, service } }) => {
      const info = await jsm.consumers.info(stream, service);
      return {
        consumer: nameOf({ stream, name: service }),
        delivered: info.delivered.stream_seq,
        acknowledged: info.ack_floor.stream_seq,
        pending: info.num_pending,
        unacked: info.num_ack_pending,
      };
    }),
  );
}

interface Result {
  readonly dryRun: boolean;
  readonly outcome: ReplayOutcome | undefined;
  readonly standing: readonly Standing[];
}

function conclude(
  output: Output,
  { dryRun, wanted, outcome, standing }: Result & { wanted: readonly ReplayPlan[] },
): void {
  const services = [...new Set(wanted.map(({ spec }) => spec.service))].join(", ");
  if (wanted.length === 0) note(output, "Nothing to replay");
  else if (dryRun) note(output, `Nothing was changed; services that it would touch: ${services}`);
  else if (outcome?.kind === "interrupted") note(output, "Interrupted: nothing was reset");
  else {
    print(output, "");
    const rows = standing.map(({ consumer, acknowledged, pending, unacked }) =>
      [consumer, acknowledged, pending, unacked].map(String),
    );
    for (const line of columns([["CONSUMER", "HANDLED UP TO", "PENDING", "UNACKED"], ...rows]))
      print(output, line);
    note(output, "npm run ops -- lag shows it catch up");
  }
}

function replayJson(plans: readonly ReplayPlan[], { dryRun, outcome, standing }: Result) {
  const replayed = outcome?.kind === "replayed" ? outcome.consumers : [];
  return {
    dry_run: dryRun,
    outcome: outcome?.kind ?? (plans.some((plan) => totalOf(plan) > 0) ? "would_replay" : "nothing"),
    consumers: plans.map((plan) => {
      const { spec, from, upTo, messages } = plan;
      const consumer = nameOf(consumerOf(spec));
      const done = replayed.find((it) => nameOf(it) === consumer);
      const stands = standing.find((it) => it.consumer === consumer);
      const { stream, service, effects } = spec;
      return {
        consumer,
        service,
        stream,
        from,
        up_to: done?.upTo ?? upTo,
        messages: totalOf(plan),
        subjects: Object.fromEntries(messages),
        effects: effects ?? null,
        skipped: effects === undefined ? 0 : totalOf(plan),
        ...(done && { under_way: done.underWay }),
        ...(stands && {
          position: {
            delivered: stands.delivered,
            acknowledged: stands.acknowledged,
            pending: stands.pending,
            unacked: stands.unacked,
          },
        }),
      };
    }),
  };
}
