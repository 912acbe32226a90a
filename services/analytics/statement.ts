import type { Advance, MessagePlace } from "../../nats/mod.ts";
import { LEASE } from "./lease_table.ts";
import type { Rows } from "./rows.ts";

/** One SQL statement, with a JSON array of records as the parameter of each of its parts. */
export interface Statement {
  readonly sql: string;
  readonly parameters: readonly string[];
}

/**
 * The statement that stores a batch: rows and positions, all or nothing, in one round trip. It fails, and stores nothing, if a
 * position is not the one that the batch was read from, or would not go forward (SQLSTATE 40001), or if the lease is not held
 * (55000). Only tables that get rows are in it.
 *
 * @param options.schema Where the tables are.
 * @param options.claim By which the lease is held, of a database that others may write to as well.
 */
export function statementFor(
  rows: Rows,
  {
    parked,
    redriven,
    advance,
  }: { parked: readonly MessagePlace[]; redriven: readonly MessagePlace[]; advance: Advance },
  { schema, claim }: { schema: string; claim?: string | undefined },
): Statement {
  const place = ({ stream, seq }: MessagePlace) => ({ stream, seq });
  const records: Record<string, readonly unknown[]> = {
    advance: [...advance].map(([stream, advanced]) => ({ stream, ...advanced })),
    parked: parked.map(place),
    redriven: redriven.map(place),
    ...Object.fromEntries(Object.entries(rows).map(([name, added]) => [name, [...added.values()]])),
  };
  const filled = Object.keys(records).filter((name) => records[name]?.length !== 0) as Part[];
  const sources: Sources = {
    schema: `"${schema}"`,
    // Each is parsed as often as it is named.
    from: (part, columns) => `json_to_recordset($${filled.indexOf(part) + 1}::json) AS r(${columns})`,
    has: (part) => filled.includes(part),
  };
  const parameters = filled.map((part) => JSON.stringify(records[part]));
  const checks = [
    `CASE WHEN count(*) = ${advance.size} THEN true ELSE "${schema}".refuse_stale_position() END`,
  ];
  if (claim !== undefined) checks.push(`${LEASE}.assert_held($${parameters.push(claim)})`);
  return {
    sql: `WITH ${filled.map((part) => writers[part](sources)).join(",\n")}
SELECT ${checks.join(", ")} FROM advanced`,
    parameters,
  };
}

type Part = keyof Rows | "advance" | "parked" | "redriven";

interface Sources {
  /** Quoted. */
  readonly schema: string;
  /** The records of a part, as a table named `r`. */
  from(part: Part, columns: string): string;
  /** Whether there are any. */
  has(part: Part): boolean;
}

const transition = `order_id text, n int, state text, entered_at timestamptz, cause text, reason text, placed_on date,
  left_state text, left_after_ms bigint`;
const stock = `sku text, available bigint, reserved bigint, sold bigint, unit_price_cents bigint, currency text, seq bigint,
  changed_at timestamptz`;
const movement = "seq bigint, sku text, kind text, quantity bigint, order_id text, moved_at timestamptz";

/**
 * How each part is stored. All parts see the tables as they were before the statement, so that no two of
 * them write one row.
 */
const writers = {
  advance: ({ schema, from }) => `advanced AS (
  UPDATE ${schema}.positions p SET position = r."to", stored_at = r."storedAt", changed_at = now()
  FROM ${from("advance", `stream text, "from" bigint, "to" bigint, "storedAt" timestamptz`)}
  WHERE p.stream = r.stream AND p.position = r."from" AND r."to" > r."from" RETURNING 1
)`,
  parked: ({ schema, from }) => `parked AS (
  INSERT INTO ${schema}.parked SELECT * FROM ${from("parked", "stream text, seq bigint")} ON CONFLICT DO NOTHING
)`,
  redriven: ({ schema, from }) => `redriven AS (
  DELETE FROM ${schema}.parked p USING ${from("redriven", "stream text, seq bigint")}
  WHERE p.stream = r.stream AND p.seq = r.seq
)`,
  orders: ({ schema, from }) => `orders AS (
  INSERT INTO ${schema}.orders AS o
  SELECT order_id, customer_id, plan, shipping_priority, country, currency, total_cents, placed_at, version,
    coalesce(state, 'created'), coalesce(reason, ''), coalesce(state_since, placed_at), ended_at, cancel_requested_at
  FROM ${from(
    "orders",
    `order_id text, customer_id text, plan text, shipping_priority text, country text, currency text, total_cents bigint,
    placed_at timestamptz, version int, state text, reason text, state_since timestamptz, ended_at timestamptz,
    cancel_requested_at timestamptz`,
  )}
  ON CONFLICT (order_id) DO UPDATE SET
    version = greatest(o.version, excluded.version),
    state = CASE WHEN excluded.version >= o.version THEN excluded.state ELSE o.state END,
    reason = CASE WHEN excluded.version >= o.version THEN excluded.reason ELSE o.reason END,
    state_since = CASE WHEN excluded.version >= o.version THEN excluded.state_since ELSE o.state_since END,
    ended_at = coalesce(excluded.ended_at, o.ended_at),
    cancel_requested_at = coalesce(o.cancel_requested_at, excluded.cancel_requested_at)
  WHERE excluded.version >= o.version OR excluded.cancel_requested_at IS NOT NULL
)`,
  lines: ({ schema, from }) => `lines AS (
  INSERT INTO ${schema}.order_lines
  SELECT * FROM ${from("lines", "order_id text, line int, sku text, quantity int, unit_price_cents bigint")}
  ON CONFLICT DO NOTHING
)`,
  // Whether a transition is news, the table says: what is counted is what it takes.
  transitions: ({ schema, from }) => `said_transitions AS MATERIALIZED (
  SELECT * FROM ${from("transitions", transition)}
), transitions AS (
  INSERT INTO ${schema}.transitions
  SELECT order_id, n, state, entered_at, cause FROM said_transitions
  ON CONFLICT DO NOTHING RETURNING order_id, n
), new_transitions AS MATERIALIZED (
  SELECT said.* FROM transitions t JOIN said_transitions said ON said.order_id = t.order_id AND said.n = t.n
), funnel AS (
  INSERT INTO ${schema}.funnel_daily AS f
  SELECT placed_on, state, reason, count(*) FROM new_transitions GROUP BY 1, 2, 3
  ON CONFLICT (day, state, reason) DO UPDATE SET orders = f.orders + excluded.orders
), time_in_state AS (
  INSERT INTO ${schema}.time_in_state_daily AS t
  SELECT placed_on, left_state, count(*), sum(left_after_ms), max(left_after_ms) FROM new_transitions
  WHERE left_after_ms IS NOT NULL GROUP BY 1, 2
  ON CONFLICT (day, state) DO UPDATE SET visits = t.visits + excluded.visits,
    total_ms = t.total_ms + excluded.total_ms, longest_ms = greatest(t.longest_ms, excluded.longest_ms)
)`,
  payments: (sources) =>
    upsertNewest(sources, "payments", {
      word: "status",
      columns: {
        amount_cents: "bigint",
        currency: "text",
        capture_id: "text",
        decline_code: "text",
        captured_at: "timestamptz",
        declined_at: "timestamptz",
        voided_at: "timestamptz",
      },
    }),
  refunds: ({ schema, from }) => `refunds AS (
  INSERT INTO ${schema}.refunds
  SELECT * FROM ${from(
    "refunds",
    "order_id text, amount_cents bigint, currency text, refund_id text, refunded_at timestamptz",
  )}
  ON CONFLICT DO NOTHING
)`,
  revenue: ({ schema, from }) => `revenue AS (
  INSERT INTO ${schema}.revenue_daily AS d
  SELECT * FROM ${from(
    "revenue",
    `day date, currency text, captures bigint, captured_cents bigint, refunds bigint, refunded_cents bigint`,
  )}
  ON CONFLICT (day, currency) DO UPDATE SET
    captures = d.captures + excluded.captures, captured_cents = d.captured_cents + excluded.captured_cents,
    refunds = d.refunds + excluded.refunds, refunded_cents = d.refunded_cents + excluded.refunded_cents
)`,
  // The last of each sku is its stock; units that came or went otherwise than by orders are what its sum changes by.
  stock: ({ schema, from }) => `said_stock AS MATERIALIZED (
  SELECT r.*, r.available + r.reserved + r.sold AS units,
    lag(r.available + r.reserved + r.sold, 1, coalesce(s.available + s.reserved + s.sold, 0)) OVER by_sku AS before,
    row_number() OVER (PARTITION BY r.sku ORDER BY r.seq DESC) AS age
  FROM ${from("stock", stock)} LEFT JOIN ${schema}.stock s ON s.sku = r.sku
  WHERE s.seq IS NULL OR r.seq > s.seq
  WINDOW by_sku AS (PARTITION BY r.sku ORDER BY r.seq)
), stock AS (
  INSERT INTO ${schema}.stock AS s (sku, available, reserved, sold, unit_price_cents, currency, seq, changed_at)
  SELECT sku, available, reserved, sold, unit_price_cents, currency, seq, changed_at FROM said_stock WHERE age = 1
  ON CONFLICT (sku) DO UPDATE SET available = excluded.available, reserved = excluded.reserved, sold = excluded.sold,
    unit_price_cents = excluded.unit_price_cents, currency = excluded.currency, seq = excluded.seq,
    changed_at = excluded.changed_at
), adjusted AS (
  INSERT INTO ${schema}.stock_movements
  SELECT seq, sku, 'adjusted', units - before, NULL, changed_at FROM said_stock WHERE units <> before
  ON CONFLICT DO NOTHING
)`,
  movements: ({ schema, from }) => `movements AS (
  INSERT INTO ${schema}.stock_movements SELECT * FROM ${from("movements", movement)} ON CONFLICT DO NOTHING
)`,
  releases: ({ schema, from, has }) => `released AS MATERIALIZED (
  SELECT * FROM ${from("releases", "seq bigint, order_id text, moved_at timestamptz")}
), releases AS (
  INSERT INTO ${schema}.stock_movements
  SELECT released.seq, held.sku, 'released', held.quantity, released.order_id, released.moved_at
  FROM released CROSS JOIN LATERAL (
    SELECT sku, quantity FROM ${schema}.stock_movements WHERE order_id = released.order_id AND kind = 'reserved'
    ${has("movements") ? `UNION ALL SELECT sku, quantity FROM ${from("movements", movement)} WHERE r.order_id = released.order_id AND r.kind = 'reserved'` : ""}
  ) held
  ON CONFLICT DO NOTHING
)`,
  screenings: (sources) =>
    upsertNewest(sources, "screenings", {
      word: "outcome",
      columns: {
        rules: "jsonb",
        reviewer: "text",
        screened_at: "timestamptz",
        expires_at: "timestamptz",
        decided_at: "timestamptz",
      },
    }),
  shipments: ({ schema, from }) => `shipments AS (
  INSERT INTO ${schema}.shipments
  SELECT * FROM ${from(
    "shipments",
    "order_id text, outcome text, carrier text, tracking_number text, failure text, concluded_at timestamptz",
  )}
  ON CONFLICT DO NOTHING
)`,
  mails: ({ schema, from }) => `mails AS (
  INSERT INTO ${schema}.mails
  SELECT * FROM ${from("mails", "order_id text, kind text, sent_at timestamptz")} ON CONFLICT DO NOTHING
)`,
} as const satisfies Record<Part, (sources: Sources) => string>;

/**
 * Stores rows, one an order, that several messages make together: each says some of the columns, and all of them the word, of
 * which the newest message's counts.
 */
function upsertNewest(
  { schema, from }: Sources,
  part: "payments" | "screenings",
  { word, columns }: { word: string; columns: Readonly<Record<string, string>> },
): string {
  const types = Object.entries(columns).map(([name, type]) => `${name} ${type}`);
  const said = Object.keys(columns).map((name) => `${name} = coalesce(excluded.${name}, known.${name})`);
  return `${part} AS (
  INSERT INTO ${schema}.${part} AS known
  SELECT * FROM ${from(part, ["order_id text", "seq bigint", `${word} text`, ...types].join(", "))}
  ON CONFLICT (order_id) DO UPDATE SET
    seq = greatest(known.seq, excluded.seq),
    ${word} = CASE WHEN excluded.seq > known.seq THEN excluded.${word} ELSE known.${word} END,
    ${said.join(",\n    ")}
)`;
}
