import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { Kysely, PGliteDialect, PostgresDialect } from "kysely";
import type { Log } from "../../nats/mod.ts";
import { PostgresTurn } from "./turn.ts";

/** Where a projection is kept. */
export interface Database<T> extends AsyncDisposable {
  readonly kind: "postgresql" | "pglite";
  /**
   * Sums and counts come as numbers, times as `Date`, days as text.
   */
  readonly db: Kysely<T>;
  /** Resolves once no other process writes the projection, and for as long as this one is connected. */
  turn(signal: AbortSignal): Promise<void>;
}

export interface DatabaseOptions {
  /** `postgresql://…`. Default: PGlite, PostgreSQL within this process, in `folder`. */
  url: string | undefined;
  folder: string;
  log: Log;
}

/** `pg_type`: what PostgreSQL sends as text lest it be rounded, and no sum here gets near 2^53. */
const INT8 = 20;
/** A day has no time zone, as which a `Date` of it would be read. */
const DATE = 1082;

/** Connections at most: one that writes, and some that answer. */
const POOL = 5;
const CONNECT_TIMEOUT_MS = 5_000;
/** A statement of this long is stuck. The server ends it; if that does not answer either, the connection is given up. */
const STATEMENT_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 15_000;

/** Opens the database. Of a server that does not answer, only who asks something of it learns. */
export function openDatabase<T>(options: DatabaseOptions): Promise<Database<T>> {
  const { url, log } = options;
  return url === undefined ? openPGlite(options) : openPostgres(url, log);
}

async function openPostgres<T>(url: string, log: Log): Promise<Database<T>> {
  const { default: pg } = await import("pg");
  const settings = {
    connectionString: url,
    application_name: "analytics",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  };
  const pool = new pg.Pool({
    ...settings,
    max: POOL,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    types: {
      getTypeParser: ((oid: number, format?: "text" | "binary") => {
        if (oid === INT8) return Number;
        return oid === DATE ? String : pg.types.getTypeParser(oid, format as "text");
      }) as typeof pg.types.getTypeParser,
    },
  });
  // Of a connection that nobody uses right now. The next one to need one is told.
  pool.on("error", (cause) => log.warn({ err: cause }, "a connection to the database was lost"));
  const turn = new PostgresTurn(() => new pg.Client(settings), log);
  const db = new Kysely<T>({ dialect: new PostgresDialect({ pool }) });
  return {
    kind: "postgresql",
    db,
    turn: (signal) => turn.take(signal),
    async [Symbol.asyncDispose]() {
      await turn[Symbol.asyncDispose]();
      await db.destroy();
    },
  };
}

async function openPGlite<T>({ folder, log }: DatabaseOptions): Promise<Database<T>> {
  const { PGlite } = await import("@electric-sql/pglite");
  const dataDir = join(folder, "pglite");
  if (!existsSync(dataDir)) {
    log.info({ folder: dataDir }, "making a database");
    // It takes seconds, in which the process may be killed: what bears the final name is whole.
    const making = join(folder, "pglite.new");
    await rm(making, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await (await PGlite.create({ dataDir: making })).close();
    await rename(making, dataDir);
  }
  const pglite = await PGlite.create({ dataDir, parsers: { [INT8]: Number, [DATE]: String } });
  const db = new Kysely<T>({ dialect: new PGliteDialect({ pglite }) });
  return {
    kind: "pglite",
    db,
    // Nobody else can be in it.
    turn: async () => undefined,
    async [Symbol.asyncDispose]() {
      await db.destroy();
      if (!pglite.closed) await pglite.close();
    },
  };
}

/** Whether this says that the database did not answer, or could not, rather than what it answered. */
export function isDatabaseDown(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  const { code } = cause as { code?: unknown };
  // By SQLSTATE: connection, resources, intervention of an operator or a timeout, the system; tables that are not made yet. By
  // Node's names: the network.
  if (typeof code === "string") return /^(08|53|57|58)...$|^3F000$|^42P01$|^E[A-Z_]+$/.test(code);
  // What the driver says of a connection that ended or did not answer has no code; what is a bug of ours has its own class.
  return cause.constructor === Error;
}
