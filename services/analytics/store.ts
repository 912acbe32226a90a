import { CompiledQuery, type Kysely } from "kysely";
import {
  type Advance,
  type MessagePlace,
  type Projected,
  type Projection,
  type ProjectionBatch,
  topology,
} from "../../nats/mod.ts";
import { asWriter, type Database } from "./database.ts";
import { count } from "./decide.ts";
import { migrate } from "./migrations.ts";
import { newRows, type Rows } from "./rows.ts";
import { statementFor } from "./statement.ts";
import type { Tables } from "./tables.ts";

/** The schema that answers are read from. */
export const LIVE = "analytics";

/** The projection in one schema of the database. */
export class Store implements Projection {
  readonly #database: Database<Tables>;
  readonly #schema: string;

  constructor(database: Database<Tables>, { schema = LIVE }: { schema?: string } = {}) {
    this.#database = database;
    this.#schema = schema;
  }

  get lost(): AbortSignal | undefined {
    return this.#database.lost;
  }

  get #db(): Kysely<Tables> {
    return this.#database.writer.withSchema(this.#schema);
  }

  /** Waits until no other process writes the projection, migrates it, and resolves with the position of each stream. */
  async open(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    await this.#database.becomeWriter(signal);
    await migrate(this.#database, { schema: this.#schema });
    const streams = topology.streams.map(({ name }) => ({ stream: name, position: 0 }));
    await asWriter(this.#database, (transaction) =>
      transaction
        .withSchema(this.#schema)
        .insertInto("positions")
        .values(streams)
        .onConflict((conflict) => conflict.doNothing())
        .execute(),
    );
    return this.positions();
  }

  async positions(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#db.selectFrom("positions").select(["stream", "position"]).execute();
    return new Map(rows.map(({ stream, position }) => [stream, position]));
  }

  async storedAt(): Promise<ReadonlyMap<string, Date>> {
    const rows = await this.#db.selectFrom("positions").select(["stream", "stored_at"]).execute();
    return new Map(
      rows.flatMap(({ stream, stored_at }) => (stored_at === null ? [] : [[stream, stored_at]])),
    );
  }

  begin(): ProjectionBatch {
    const rows = newRows();
    const parked: MessagePlace[] = [];
    const redriven: Projected[] = [];
    return {
      add(message) {
        if (message.redriven) redriven.push(message);
        else count(rows, message);
      },
      park: (place) => void parked.push(place),
      store: (advance) => this.#store(rows, { parked, redriven, advance }),
    };
  }

  /** In one statement, which is a transaction of its own and one round trip. */
  async #store(
    rows: Rows,
    batch: { parked: readonly MessagePlace[]; redriven: readonly Projected[]; advance: Advance },
  ): Promise<void> {
    const redriven = await this.#leftOut(batch.redriven);
    for (const message of redriven) count(rows, message);
    const { claim } = this.#database;
    const { sql, parameters } = statementFor(rows, { ...batch, redriven }, { schema: this.#schema, claim });
    await this.#database.writer.executeQuery(CompiledQuery.raw(sql, [...parameters]));
  }

  /** Those of `redriven` that are not counted yet: a rebuild by a build that can read them may have done so. */
  async #leftOut(redriven: readonly Projected[]): Promise<readonly Projected[]> {
    if (redriven.length === 0) return [];
    const rows = await this.#db.selectFrom("parked").select(["stream", "seq"]).execute();
    const parked = new Set(rows.map(({ stream, seq }) => `${stream} ${seq}`));
    return redriven.filter(({ stream, seq }) => parked.has(`${stream} ${seq}`));
  }
}
