import type { JetStreamManager } from "@nats-io/jetstream";
import { withFilters } from "../../nats/mod.ts";

/**
 * Whether a consumer has acknowledged all that its stream holds for it. The server counts as pending what has just been
 * stored only a moment later, so none pending is not enough: the last message of each subject must be behind its ack floor.
 */
export async function drained(jsm: JetStreamManager, stream: string, consumer: string): Promise<boolean> {
  const info = await jsm.consumers.info(stream, consumer);
  if (info.num_pending + info.num_ack_pending > 0) return false;
  const filters = withFilters(info.config).filter_subjects ?? [">"];
  const last = await Promise.all(
    filters.map((filter) => jsm.streams.getMessage(stream, { last_by_subj: filter })),
  );
  return last.every((stored) => stored === null || stored.seq <= info.ack_floor.stream_seq);
}
