import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { SchemaSubject, SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import { type Contract, splitSubject, subjectOf } from "../contracts/contract.ts";
import { collect, MAX_PAGE, viewStored } from "../read.ts";
import type { LiveSpec } from "../topology.ts";
import { schemaIdIn } from "./read_gate.ts";

// What is really there: versions that retained messages were written with, and entities that wait.

/** Entities whose states are looked at, of each kind. More are as likely to have been written with the same schemas. */
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
    const subjects = new Set(page.map(({ subject }) => subjectOf(state, splitSubject(subject).id)));
    const states = await collect(`${subjects.size} states of ${stream}`, (callback) =>
      jsm.direct.getLastMessagesFor(stream, { multi_last: [...subjects], callback }),
    );
    for (const stored of states) {
      const id = schemaIdOf(stored) ?? 0;
      counts.set(id, (counts.get(id) ?? 0) + 1);
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

/** An instance of an older version may go on for so long after a newer one was registered. */
const ROLLOUT_MS = 3_600_000;
/** Messages that are looked at for one version, a thousand each. */
const MAX_PAGES = 50;

/**
 * A retained message of `contract` that names the schema of `version`, looked for where that was in use: from when it was
 * registered until the next one had replaced it. Undefined if there is none, or none among the first
 * {@linkcode MAX_PAGES} × {@linkcode MAX_PAGE}.
 */
export async function findRetained(
  jsm: JetStreamManager,
  stream: string,
  { contract, doc, version }: { contract: Contract; doc: SchemaSubject; version: SchemaVersion },
): Promise<Retained | undefined> {
  const subject = `${contract.subject}.>`;
  const next = doc.versions.find((it) => it.version > version.version)?.registeredAt;
  const until = next === undefined ? Number.POSITIVE_INFINITY : timestampDate(next).getTime() + ROLLOUT_MS;
  let from: number | undefined;
  const since = version.registeredAt && timestampDate(version.registeredAt);
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await viewStored(jsm, stream, { subject, from, since, limit: MAX_PAGE });
    const found = page.find((message) => schemaIdOf(message) === version.id);
    if (found !== undefined) return { version: version.version, seq: found.seq, storedAt: found.time };
    const last = page.at(-1);
    if (last === undefined || last.time.getTime() > until) return undefined;
    from = last.seq + 1;
  }
  return undefined;
}

/** The schema that a stored message names. */
export function schemaIdOf({ header }: Pick<StoredMsg, "header">): number | undefined {
  return schemaIdIn(header?.get("ce-dataschema") ?? "");
}
