import { cp, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { post } from "../../tools/customer.ts";
import { replicaFaults } from "./cluster.ts";
import type { Extent, Fault } from "./fault.ts";
import { type Findings, openWorld, settle, type Tally, type World } from "./world.ts";

export interface Result {
  readonly fault: Fault;
  readonly orders: number;
  readonly tally: Tally;
  readonly delays: readonly number[];
  readonly batches: number;
  readonly messages: number;
  readonly violations: readonly string[];
  readonly seconds: number;
  /** Folder in which the state of the shop was kept, if there were violations. */
  readonly kept?: string;
}

/** Answers that are asked for once more at the end. */
const REPLAYS = 10;

/**
 * Opens a shop, breaks it as `fault` says, waits until it has come to rest, and audits it.
 * @param options.onOpen Is given the shop, for whoever wants to watch.
 */
export async function runFault(
  fault: Fault,
  extent: Extent,
  options: { onOpen?: (world: World) => void } = {},
): Promise<Result> {
  const started = performance.now();
  await using world = await openWorld(fault.world);
  options.onOpen?.(world);
  const audited = await breakAndAudit(world, fault, extent);
  const result = { ...audited, violations: [...audited.violations, ...(await replicaFaults(world))] };
  const seconds = (performance.now() - started) / 1_000;
  if (result.violations.length === 0) return { ...result, seconds };
  const kept = await mkdtemp(join(tmpdir(), `fault-${fault.name}-`));
  await world.shop.shop.shutdown();
  await cp(world.shop.folder, kept, { recursive: true });
  if (world.nodes !== undefined) await cp(world.nodes.folder, join(kept, "nodes"), { recursive: true });
  return { ...result, seconds, kept };
}

/** In a shop that is open, and may have been through other faults before: the audit is of all of them. */
export async function breakAndAudit(world: World, fault: Fault, extent: Extent): Promise<Result> {
  const started = performance.now();
  const before = { ...world.tally, orders: world.accepted.length };
  let wrong: readonly string[];
  try {
    wrong = await fault.run(world, extent);
  } catch (cause) {
    wrong = [`the test itself failed: ${cause instanceof Error ? cause.stack : cause}`];
  }
  for (const link of world.links.values()) link.release();
  const found: Findings = await settle(world);
  const forgotten = await replays(world);
  return {
    fault,
    orders: world.accepted.length - before.orders,
    tally: {
      ...world.tally,
      kills: world.tally.kills - before.kills,
      pauses: world.tally.pauses - before.pauses,
      network: world.tally.network - before.network,
      requests: world.tally.requests - before.requests,
      refused: world.tally.refused - before.refused,
    },
    delays: found.delays,
    batches: found.batches,
    messages: found.messages,
    violations: [...wrong, ...forgotten, ...found.violations],
    seconds: (performance.now() - started) / 1_000,
  };
}

/** An order that is sent again with its key gets the same answer, whatever happened since. */
async function replays(world: World): Promise<string[]> {
  const last = world.accepted.slice(-REPLAYS);
  const answers = await Promise.all(
    last.map(({ key, body }) => post(world.orderUrl(), "/orders", { key, body })),
  );
  return answers.flatMap(({ status, answer, replayed }, index) => {
    const { id } = last[index] ?? {};
    if (status === 202 && answer.order_id === id && replayed) return [];
    return [`I4 ${id}: sent again, it was answered with ${status} ${answer.order_id}`];
  });
}
