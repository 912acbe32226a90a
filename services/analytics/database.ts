import { existsSync } from "node:fs";
import { join } from "node:path";
import { Kysely, PGliteDialect, PostgresDialect, sql, type Transaction } from "kysely";
import { type Log, makeFolder } from "../../nats/mod.ts";
import { LEASE } from "./lease_table.ts";
import { DATE, INT8 } from "./type_ids.ts";
import { WriterLease } from "./writer_lease.ts";

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
   * Resolves once this process is the one that may write: the first, or the one after another has ended.
   * @throws {Error} If the database does not answer, or `signal` aborts.
   */
  becomeWriter(signal: AbortSignal): Promise<void>;
  /** Aborts when this process is no longer the one that may write. Undefined: it always is. */
  readonly lost: AbortSignal | undefined;
  /** What a statement that writes has to say to `assert_held()`. Undefined: nobody else can write. */
  readonly claim: string | undefined;
  /**
   * First in each transaction that writes and is more than a statement: nobody else writes until it ends.
   * @throws {Error} If this process is not the one that may write. Nothing else is to be tried in the transaction.
   */
  assertWriter(transaction: Kysely<unknown>): Promise<void>;
}

/** One transaction of the process that may write, or nothing. */
export function asWriter<T, R>(
  database: Database<T>,
  work: (transaction: Transaction<T>) => Promise<R>,
): Promise<R> {
  return database.writer.transaction().execute(async (transaction) => {
    await database.assertWriter(transaction as Transaction<unknown>);
    return work(transaction);
  });
}

export interface DatabaseOptions {
  /** `postgresql://…`. Default: PGlite, PostgreSQL in a thread of this process, in `folder`. */
  url: string | undefined;
  folder: string;
  log: Log;
  /** See `WriterLeaseOptions`. */
  leaseMs?: number | undefined;
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
/** Of a writer that has vanished within a transaction, whose locks the next one waits for. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;

/**
 * Times are read as text in one form, whatever the role, the database or the server has set for its people. The server ends the
 * session of a host that has vanished after 25 s, and not after two hours as its system would.
 */
const SESSION =
  "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC " +
  "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";

/** Opens the database. Of a server that does not answer, only who asks something of it learns. */
export function openDatabase<T>(options: DatabaseOptions): Promise<Database<T>> {
  const { url } = options;
  return url === undefined ? openPGlite(options) : openPostgres(url, options);
}

async function openPostgres<T>(url: string, { log, leaseMs }: DatabaseOptions): Promise<Database<T>> {
  const { default: pg } = await import("pg");
  const settings = {
    connectionString: url,
    application_name: "analytics",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
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
    // The query that uses it right now, or the next one that needs it, is told. Within a transaction, nobody else hears of it, and what
    // nobody hears ends the process.
    pool.on("connect", (client) => {
      client.on("error", (cause) => log.warn({ err: cause }, "a connection to the database was lost"));
    });
    // Of a connection that nobody uses: it has said so itself, above.
    pool.on("error", () => undefined);
    return new Kysely<T>({ dialect: new PostgresDialect({ pool }) });
  };
  const lease = new WriterLease({
    connect: (timeoutMs) => new pg.Client({ ...settings, query_timeout: timeoutMs }),
    log,
    leaseMs,
  });
  const [db, writer] = [open(READERS), open(WRITERS)];
  return {
    kind: "postgresql",
    db,
    writer,
    get isWriter() {
      return lease.held;
    },
    becomeWriter: (signal) => lease.take(signal),
    get lost() {
      return lease.lost;
    },
    get claim() {
      return lease.claim;
    },
    async assertWriter(transaction) {
      await sql`SELECT ${sql.id(LEASE, "assert_held")}(${lease.claim})`.execute(transaction);
    },
    async [Symbol.asyncDispose]() {
      await lease[Symbol.asyncDispose]();
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
    lost: undefined,
    claim: undefined,
    assertWriter: async () => undefined,
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
