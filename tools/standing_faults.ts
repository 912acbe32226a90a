import { connect } from "@nats-io/transport-node";
import { readFaults } from "../lib/mod.ts";
import { type Access, accessOptions } from "../nats/mod.ts";

/** What an operator has set to go wrong, as `name → value`, and has not cleared. @throws {Error} If the servers do not answer. */
export async function standingFaults(operator: Access): Promise<Map<string, string>> {
  const connection = await connect({ ...accessOptions(operator), name: "supervisor" });
  try {
    return await readFaults(connection);
  } finally {
    await connection.close();
  }
}
