import { CompiledQuery, type Kysely } from "kysely";
import { type Projected, type Projection, type ProjectionBatch, topology } from "../../nats/mod.ts";
import type { Database } from "./database.ts";
import { project } from "./decide.ts";
import { migrate } from "./migrations.ts";
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

  get #db(): Kysely<Tables> {
    return this.#database.writer.withSchema(this.#schema);
  }

  /** Waits until no other process writes the projection, migrates it, and resolves with the position of each stream. */
  async open(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    await this.#database.becomeWriter(signal);
    await migrate(this.#database.writer, { schema: this.#schema });
    const streams = topology.streams.map(({ name }) => ({ stream: name, position: 0 }));
    await this.#db
      .insertInto("positions")
      .values(streams)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    return this.positions();
  }

  async positions(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#db.selectFrom("positions").select(["stream", "position"]).execute();
    return new Map(rows.map(({ stream, position }) => [stream, position]));
  }

  /** Stores a batch in one statement, which is a transaction of its own and one round trip. */
  async apply(batch: ProjectionBatch): Promise<void> {
    const counted = await this.#toCount(batch.messages);
    const { sql, parameters } = statementFor(
      project(counted),
      { ...batch, messages: counted },
      { schema: this.#schema },
    );
    await this.#database.writer.executeQuery(CompiledQuery.raw(sql, [...parameters]));
  }

  /** Without the dead letters whose messages were counted after all, by a rebuild with a build that can read them. */
  async #toCount(messages: readonly Projected[]): Promise<readonly Projected[]> {
    const letters = messages.filter(({ redriven }) => redriven);
    if (letters.length === 0) return messages;
    const rows = await this.#db.selectFrom("parked").select(["stream", "seq"]).execute();
    const parked = new Set(rows.map(({ stream, seq }) => `${stream} ${seq}`));
    return messages.filter(({ redriven, stream, seq }) => !redriven || parked.has(`${stream} ${seq}`));
  }
}
