import type { Client } from "pg";

/** In a schema of its own: that of the projection is replaced by a rebuild. */
export const LEASE = "analytics_writer";

/** Any number that nobody else locks: "shop" as four bytes. Keeps two processes from making the table at once. */
const LOCK = 0x73686f70;

/**
 * One row: who writes, and until when by the database's own clock. `assert_held()` is what each transaction of a writer says of
 * itself. It locks the row until the transaction ends, so that nobody takes the lease from under it; those of one writer do not
 * wait for each other. SQLSTATE 55000 ends a transaction whose claim does not hold, or no longer.
 */
const MAKE = `
SELECT pg_advisory_xact_lock(${LOCK});
CREATE SCHEMA IF NOT EXISTS ${LEASE};
CREATE TABLE IF NOT EXISTS ${LEASE}.lease (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  holder text NOT NULL,
  until timestamptz NOT NULL
);
CREATE OR REPLACE FUNCTION ${LEASE}.assert_held(claim text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
  BEGIN
    PERFORM 1 FROM ${LEASE}.lease WHERE holder = claim AND until > clock_timestamp() FOR SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'another process writes the projection, or may by now'
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN true;
  END
$$;`;

export async function makeLeaseTable(client: Client): Promise<void> {
  const found = await client.query<{ oid: unknown }>(
    `SELECT to_regprocedure('${LEASE}.assert_held(text)') AS oid`,
  );
  // Several statements in one message are one transaction.
  if (found.rows[0]?.oid == null) await client.query(MAKE);
  await client.query(
    `INSERT INTO ${LEASE}.lease (holder, until) VALUES ('', '-infinity') ON CONFLICT DO NOTHING`,
  );
}

/**
 * Holds the lease for `ms` from now on, if it is held as `claim`, or by nobody any more. Of the latter the new claim is `next`: what was
 * said with an older one, and is still on its way, must not count.
 *
 * @returns The claim that holds now; undefined if another process has the lease.
 */
export async function claimLease(
  client: Client,
  { claim, next, ms }: { claim: string; next: string; ms: number },
): Promise<string | undefined> {
  const { rows } = await client.query<{ holder: string }>(
    // Touches, and so waits for, only what it may take: an upsert would lock the writer's row at each look.
    `UPDATE ${LEASE}.lease SET
       holder = CASE WHEN holder = $1 THEN holder ELSE $2 END,
       until = clock_timestamp() + $3 * interval '1 ms'
     WHERE holder = $1 OR until < clock_timestamp()
     RETURNING holder`,
    [claim, next, ms],
  );
  return rows[0]?.holder;
}

/** Lets the next one take it at once. Changes nothing if `claim` does not hold. */
export async function releaseLease(client: Client, claim: string): Promise<void> {
  await client.query(`UPDATE ${LEASE}.lease SET until = '-infinity' WHERE holder = $1`, [claim]);
}
