import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";
import { type Access, accessOptions, findTornBatch, ledgersOf, topology, tornText } from "../nats/mod.ts";

const lookAgainMs = 1_000;

/**
 * Resolves when every stream ends in a whole commit. Until then nobody reads what is half there, and `report` says what to
 * do: a person has to remove it (see {@linkcode findTornBatch}).
 *
 * @throws {Error} If the servers do not answer.
 */
export async function waitForWholeLedgers(
  operator: Access,
  { report }: { report: (line: string) => void },
): Promise<void> {
  const connection = await connect({ ...accessOptions(operator), name: "supervisor" });
  try {
    for (const told = new Set<string>(); ; await sleep(lookAgainMs)) {
      const torn = await Promise.all(ledgersOf(topology).map((ledger) => findTornBatch(connection, ledger)));
      const found = torn.filter((batch) => batch !== undefined);
      if (found.length === 0) return;
      for (const batch of found.filter(({ stream }) => !told.has(stream))) {
        told.add(batch.stream);
        report(`no service is started: ${tornText(batch)}`);
        report(`to remove what is there: npm run ops -- ledgers repair ${batch.stream}`);
      }
    }
  } finally {
    await connection.close();
  }
}
