import { createHash } from "node:crypto";
import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { applyTopology, connect, seedFile, topology } from "../../nats/mod.ts";
import { type Ledgers, readLedgers, silent } from "../support/mod.ts";
import { type Nodes, startNodes } from "./nodes.ts";

/** Account of everybody where none is declared. */
const streamsBelow = join("jetstream", "$G", "streams");

/**
 * What each node has on its own disk, read by a server that knows nothing of the other nodes. The nodes are stopped for it
 * and stay so.
 *
 * A server alone refuses to open a stream of three copies, so that it is given streams of its own with the same names,
 * and the node's files as their messages.
 *
 * @returns One line per stream that is not the same everywhere.
 */
export async function compareReplicas(nodes: Nodes): Promise<string[]> {
  await Promise.all(nodes.names.map((name) => nodes.stop(name)));
  const digests = new Map<string, ReadonlyMap<string, string>>();
  for (const name of nodes.names) digests.set(name, digestsOf(await readStore(nodes.store(name))));
  return topology.streams.flatMap(({ name: stream }) => {
    const found = nodes.names.map((name) => `${name}: ${digests.get(name)?.get(stream)}`);
    const different = new Set(nodes.names.map((name) => digests.get(name)?.get(stream)));
    return different.size === 1 ? [] : [`${stream} is not the same on every node: ${found.join("; ")}`];
  });
}

async function readStore(store: string): Promise<Ledgers> {
  await using alone = await startNodes({ count: 1 });
  const [node = ""] = alone.names;
  const access = { servers: alone.servers, nkeyFile: seedFile(alone.credentials, "operator") };
  await applyTopology(access);
  await alone.stop(node);
  const own = join(alone.store(node), streamsBelow);
  for (const stream of await readdir(own)) {
    const messages = join(stream, "msgs");
    await rm(join(own, messages), { recursive: true });
    await cp(join(store, streamsBelow, messages), join(own, messages), { recursive: true });
  }
  await alone.start(node);
  const connection = await connect({ ...access, name: "replicas", log: silent });
  try {
    return await readLedgers(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}

/** By stream: how many messages, and a hash of every sequence, subject, time, header and payload. */
function digestsOf(ledgers: Ledgers): Map<string, string> {
  return new Map(
    Object.entries(ledgers).map(([stream, messages]) => {
      const hash = createHash("sha256");
      for (const { seq, subject, time, headers, data } of messages) {
        hash.update(`${seq} ${subject} ${time.toISOString()} ${data.length}\n${headers}\n`).update(data);
      }
      return [stream, `${messages.length} messages, ${hash.digest("hex").slice(0, 16)}`];
    }),
  );
}
