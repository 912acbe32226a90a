import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { type Contract, splitSubject, subjectOf } from "../contracts/contract.ts";
import { counted } from "../counted.ts";
import { collect, MAX_PAGE, viewStored } from "../read.ts";
import type { LiveSpec } from "../topology.ts";
import { schemaIdIn } from "./read_gate.ts";

// What is really there: versions that retained messages were written with, and entities that wait.

/** Entities whose states are looked at, of each kind: those that have waited longest, whose schemas are the oldest. */
export const MAX_LIVE = 10_000;

/** Schema ids that the states of waiting entities name, each with how many do; 0 stands for none that can be told. */
export async function liveSchemas(
  jsm: JetStreamManager,
  stream: string,
  { index, state }: LiveSpec,
): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  let looked = 0;
  for (let from = 1; looked < MAX_LIVE; ) {
    const page = await viewStored(jsm, stream, { subject: `${index.subject}.>`, from, limit: MAX_PAGE });
    const last = page.at(-1);
    if (last === undefined) break;
    from = last.seq + 1;
    looked += page.length;
    let wanted = [...new Set(page.map(({ subject }) => subjectOf(state, splitSubject(subject).id)))];
    while (wanted.length > 0) {
      const request = { multi_last: wanted };
      const states = await collect(`${counted(wanted.length, "state")} of ${stream}`, (callback) =>
        jsm.direct.getLastMessagesFor(stream, { ...request, callback }),
      );
      for (const stored of states) {
        const id = schemaIdOf(stored) ?? 0;
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
      // Bytes are limited, too.
      const read = new Set(states.map(({ subject }) => subject));
      const more = (states.at(-1)?.pending ?? 0) > 0;
      wanted = more ? wanted.filter((subject) => !read.has(subject)) : [];
    }
  }
  return counts;
}

/** A retained message that was written with a version. */
export interface Retained {
  readonly version: number;
  readonly seq: number;
  readonly storedAt: Date;
}

/** Messages that are looked at for one version, a thousand each. */
const MAX_PAGES = 50;

/**
 * A retained message of `contract` that names the schema of `version`, looked for from when that was registered on.
 * Undefined if there is none among the first {@linkcode MAX_PAGES} × {@linkcode MAX_PAGE}.
 *
 * By Direct Get, as all of this: what is shown may be a moment old, and what matters here was stored long before.
 */
export async function findRetained(
  jsm: JetStreamManager,
  stream: string,
  { contract, version }: { contract: Contract; version: SchemaVersion },
): Promise<Retained | undefined> {
  const subject = `${contract.subject}.>`;
  let from: number | undefined;
  const since = version.registeredAt && timestampDate(version.registeredAt);
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await viewStored(jsm, stream, { subject, from, since, limit: MAX_PAGE });
    const found = page.find((message) => schemaIdOf(message) === version.id);
    if (found !== undefined) return { version: version.version, seq: found.seq, storedAt: found.time };
    const last = page.at(-1);
    if (last === undefined) return undefined;
    from = last.seq + 1;
  }
  return undefined;
}

/** The schema that a stored message names. */
export function schemaIdOf({ header }: Pick<StoredMsg, "header">): number | undefined {
  return schemaIdIn(header?.get("ce-dataschema") ?? "");
}
