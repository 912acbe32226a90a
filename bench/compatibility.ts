import { setImmediate } from "node:timers/promises";
import { create, type DescFile } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { file_shop_checkout_v1_checkout_state } from "../gen/shop/checkout/v1/checkout_state_pb.ts";
import { file_shop_order_v1_order_created } from "../gen/shop/order/v1/order_created_pb.ts";
import { check, fromFileSet, toFileSet, type Version } from "../schemas/mod.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { disturbances, probeDisk, type Quiet, readBusyMs, shareOfMachine } from "./quiet.ts";
import { count, number, type Result, table } from "./report.ts";
import { latencyOf } from "./stats.ts";

const MODE = "BACKWARD_TRANSITIVE";
/** One, and as many as a schema has that changes every week for two years. */
const VERSIONS = [1, 100] as const;
/** The first checks run in code that is not compiled yet. */
const WARMUP_SECONDS = 0.25;
/** How long Ctrl-C may go unheard. */
const UNHEARD_MS = 100;

const files = [file_shop_order_v1_order_created, file_shop_checkout_v1_checkout_state];

/** What a candidate has otherwise than its versions. */
const edits = {
  "a field more": (file: DescFile) => {
    const set = toFileSet(file);
    const field = create(FieldDescriptorProtoSchema, {
      name: "note",
      number: 1_000,
      label: FieldDescriptorProto_Label.OPTIONAL,
      type: FieldDescriptorProto_Type.STRING,
    });
    set.file.at(-1)?.messageType[0]?.field.push(field);
    return fromFileSet(set);
  },
  // It is refused, which takes longer: the difference is told.
  "quantity a string": (file: DescFile) => {
    const set = toFileSet(file);
    const fields = set.file.flatMap(({ messageType }) => messageType.flatMap((message) => message.field));
    for (const field of fields) {
      if (field.name === "quantity") field.type = FieldDescriptorProto_Type.STRING;
    }
    return fromFileSet(set);
  },
} as const;

interface Measured extends Quiet {
  readonly what: string;
  readonly edit: string;
  readonly versions: number;
  readonly checks: number;
  /** How many versions the candidate breaks. */
  readonly refused: number;
  readonly p50: number;
  readonly p99: number;
}

export const compatibility: Benchmark = {
  name: "compatibility",
  description:
    "checks whether a schema may follow its versions, in memory: what a start of a service waits for",
  async run(context) {
    const measured: Measured[] = [];
    for (const file of files) {
      for (const [edit, apply] of Object.entries(edits)) {
        for (const versions of VERSIONS) {
          measured.push(await measure({ file, edit, candidate: apply(file), versions }, context));
        }
      }
    }
    return report(measured, context);
  },
};

async function measure(
  one: { file: DescFile; edit: string; candidate: DescFile; versions: number },
  { options, signal, home, show, tell }: Context,
): Promise<Measured> {
  const { file, edit, candidate, versions } = one;
  const name = file.messages[0]?.name ?? "";
  const what = `${name} with ${edit}, against ${count(versions)}`;
  show(what);
  // Each has descriptors of its own, as a registry reads them.
  const history = Array.from({ length: versions }, (_, n): Version => {
    return { version: n + 1, file: fromFileSet(toFileSet(file)) };
  });
  const run = () => check(MODE, candidate, history);
  await repeat(run, { seconds: WARMUP_SECONDS, signal });
  const probeMs = probeDisk(home);
  const before = readUse();
  const samples = await repeat(run, { seconds: options.seconds, signal });
  const after = readUse();
  const { p50, p99 } = latencyOf(samples);
  tell(`${what}: p50 ${number(p50)} ms, p99 ${number(p99)} ms`);
  const othersMs = before.busyMs === undefined ? undefined : (after.busyMs ?? 0) - before.busyMs;
  const foreign = othersMs && shareOfMachine(othersMs - (after.ownMs - before.ownMs), after.at - before.at);
  const refused = run().length;
  return { what: name, edit, versions, checks: samples.length, refused, p50, p99, foreign, probeMs };
}

/** @returns How long each took, in milliseconds. */
async function repeat(
  run: () => unknown,
  { seconds, signal }: { seconds: number; signal: AbortSignal },
): Promise<number[]> {
  const samples: number[] = [];
  const until = performance.now() + seconds * 1_000;
  let heard = performance.now();
  for (let now = heard; now < until; ) {
    run();
    const ended = performance.now();
    samples.push(ended - now);
    now = ended;
    if (now - heard < UNHEARD_MS) continue;
    await setImmediate();
    signal.throwIfAborted();
    heard = now = performance.now();
  }
  return samples;
}

function readUse() {
  const { user, system } = process.cpuUsage();
  return { ownMs: (user + system) / 1_000, busyMs: readBusyMs(), at: performance.now() };
}

function report(measured: readonly Measured[], { options }: Context): Result {
  const head = ["schema", "otherwise", "versions", "refused by", "p50", "p99"];
  const rows = measured.map(({ what, edit, versions, refused, p50, p99 }) => {
    return [what, edit, count(versions), count(refused), number(p50), number(p99)];
  });
  return {
    title: "Compatibility of schemas",
    settings: [
      `${options.seconds} s for each line after ${WARMUP_SECONDS} s of warm-up, one check after the other; mode ${MODE}.`,
      "Descriptors are in memory: reading them from the bucket and compiling text is not measured.",
    ],
    versions: {},
    body: `${reading}\n\n${table([head, ...rows])}`,
    data: measured,
    problems: disturbances(measured.map((one) => ({ ...one, what: `${one.what} with ${one.edit}` }))),
  };
}

const reading = `Whether a schema with an edit may follow its versions, with all that it imports. *p50* and *p99* are milliseconds for a
check against all versions.`;
