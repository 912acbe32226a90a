import { existsSync } from "node:fs";
import { join } from "node:path";
import { Kysely, PGliteDialect, PostgresDialect } from "kysely";
import { type Log, makeFolder } from "../../nats/mod.ts";
import { DATE, INT8 } from "./type_ids.ts";
import { WriterLock } from "./writer_lock.ts";

/** Where a projection is kept. */
export interface Database<T> extends AsyncDisposable {
  readonly kind: "postgresql" | "pglite";
  /** For answers. Sums and counts come as numbers, times as `Date`, days as text. */
  readonly db: Kysely<T>;
  /** For what keeps the projection, which waits for no answer's connection. */
  readonly writer: Kysely<T>;
  /** Whether this process is the one that may write. */
  readonly isWriter: boolean;
  /**
   * Resolves once this process is the one that may write, be it by the end of another.
   * @throws {Error} If the database does not answer, or `signal` aborts.
   */
  becomeWriter(signal: AbortSignal): Promise<void>;
}

export interface DatabaseOptions {
  /** `postgresql://…`. Default: PGlite, PostgreSQL in a thread of this process, in `folder`. */
  url: string | undefined;
  folder: string;
  log: Log;
  /** Told if the database has ended within this process. */
  fail?: ((cause: Error) => void) | undefined;
}

/** Connections for answers, of which each takes one. */
const READERS = 4;
/** One counts what comes, one rebuilds. */
const WRITERS = 2;
const CONNECT_TIMEOUT_MS = 5_000;
/** A statement of this long is stuck. The server ends it; if that does not answer either, the connection is given up. */
const STATEMENT_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 15_000;

/** Times are read as text in one form, whatever the role, the database or the server has set for its people. */
const SESSION = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC";

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
    statement_timeout: STATEMENT_TIMEOUT_MS,
    options: SESSION,
    query_timeout: ANSWER_TIMEOUT_MS,
    types: {
      getTypeParser: ((oid: number, format?: "text" | "binary") => {
        if (oid === INT8) return Number;
        return oid === DATE ? String : pg.types.getTypeParser(oid, format as "text");
      }) as typeof pg.types.getTypeParser,
    },
  };
  const open = (max: number) => {
    const pool = new pg.Pool({ ...settings, max });
    // Of a connection that nobody uses right now. The next one to need one is told.
    pool.on("error", (cause) => log.warn({ err: cause }, "a connection to the database was lost"));
    return new Kysely<T>({ dialect: new PostgresDialect({ pool }) });
  };
  const lock = new WriterLock(() => new pg.Client(settings), log);
  const [db, writer] = [open(READERS), open(WRITERS)];
  return {
    kind: "postgresql",
    db,
    writer,
    get isWriter() {
      return lock.held;
    },
    becomeWriter: (signal) => lock.take(signal),
    async [Symbol.asyncDispose]() {
      await lock[Symbol.asyncDispose]();
      await Promise.all([db.destroy(), writer.destroy()]);
    },
  };
}

async function openPGlite<T>({ folder, log, fail }: DatabaseOptions): Promise<Database<T>> {
  const { PGliteThread } = await import("./pglite.ts");
  const dataDir = join(folder, "pglite");
  makeFolder(folder);
  if (!existsSync(dataDir)) log.info({ folder: dataDir }, "making a database");
  const pglite = new PGliteThread({ dataDir, fail });
  const db = new Kysely<T>({ dialect: new PGliteDialect({ pglite }) });
  return {
    kind: "pglite",
    db,
    writer: db,
    // Nobody else can be in it.
    isWriter: true,
    becomeWriter: (signal) => pglite.opened(signal),
    async [Symbol.asyncDispose]() {
      await db.destroy();
      await pglite.close();
    },
  };
}

/**
 * Whether this says that the database did not answer, or would not let anybody in, rather than what it answered. By SQLSTATE:
 * connection (08), login (28), no such database (3D), no tables yet (3F000, 42P01), resources (53), an operator or a timeout
 * (57), the system (58). By Node's names: the network.
 */
export function isDatabaseDown(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  const { code } = cause as { code?: unknown };
  if (typeof code === "string") return DOWN.test(code);
  // What the driver says of a connection that ended or did not answer has no code; what is a bug of ours has its own class.
  return cause.constructor === Error;
}

const DOWN = /^(08|28|3D|53|57|58)[0-9A-Z]{3}$|^3F000$|^42P01$|^E(?!RR_)[A-Z]{3,}$/;
