import type { Projector } from "../../nats/mod.ts";
import type { ProjectionStatus } from "./api.ts";
import type { Database } from "./database.ts";
import type { Rebuild } from "./rebuild.ts";
import { LIVE } from "./store.ts";
import type { Tables } from "./tables.ts";

export interface StatusSource {
  database: Database<Tables>;
  projector: Pick<Projector, "ready">;
  rebuild: Pick<Rebuild, "progress" | "last">;
}

/** `GET /projection`. */
export async function readStatus({ database, projector, rebuild }: StatusSource): Promise<ProjectionStatus> {
  const db = database.db.withSchema(LIVE);
  const [positions, parked] = await Promise.all([
    db.selectFrom("positions").selectAll().orderBy("stream").execute(),
    db
      .selectFrom("parked")
      .select(({ fn }) => fn.countAll<number>().as("count"))
      .executeTakeFirst(),
  ]);
  const { progress, last } = rebuild;
  return {
    database: database.kind,
    counting: projector.ready,
    positions: positions.map(({ stream, position, changed_at }) => ({
      stream,
      position,
      changed_at: changed_at.toISOString(),
    })),
    parked: parked?.count ?? 0,
    ...(progress && {
      rebuild: { started_at: progress.startedAt.toISOString(), read: progress.read, total: progress.total },
    }),
    ...(last && {
      last_rebuild: {
        started_at: last.startedAt.toISOString(),
        ended_at: last.endedAt.toISOString(),
        ...(last.refused !== undefined && { refused: last.refused }),
      },
    }),
  };
}
