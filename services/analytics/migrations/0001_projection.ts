import { type Kysely, sql } from "kysely";

/**
 * The tables, in a schema of their own: a projection is rebuilt in another one. Ids are compared byte by byte (`COLLATE "C"`),
 * which is what they are, and quicker. There are no foreign keys: what different streams say comes in any order.
 */
export async function up(db: Kysely<unknown>, schema: string): Promise<void> {
  const inSchema = sql.id(schema);
  const statements = [
    // How far each stream is counted.
    sql`CREATE TABLE ${inSchema}.positions (
      stream text PRIMARY KEY,
      position bigint NOT NULL,
      changed_at timestamptz NOT NULL DEFAULT now()
    )`,
    // What was left out, to be counted when it is redriven.
    sql`CREATE TABLE ${inSchema}.parked (stream text, seq bigint, PRIMARY KEY (stream, seq))`,
    // Ends the statement of a writer that has been overtaken, with all that it has written.
    sql`CREATE FUNCTION ${inSchema}.refuse_stale_position() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
      BEGIN
        RAISE EXCEPTION 'the positions are not those that the batch was read from' USING ERRCODE = 'serialization_failure';
      END
    $$`,
    sql`CREATE TABLE ${inSchema}.orders (
      order_id text COLLATE "C" PRIMARY KEY,
      customer_id text NOT NULL,
      plan text NOT NULL,
      shipping_priority text NOT NULL,
      country text,
      currency text NOT NULL,
      total_cents bigint NOT NULL,
      placed_at timestamptz NOT NULL,
      version int NOT NULL,
      state text NOT NULL,
      reason text NOT NULL,
      state_since timestamptz NOT NULL,
      ended_at timestamptz,
      cancel_requested_at timestamptz
    ) WITH (fillfactor = 80)`,
    sql`CREATE INDEX orders_placed ON ${inSchema}.orders (placed_at, order_id)`,
    sql`CREATE TABLE ${inSchema}.order_lines (
      order_id text COLLATE "C",
      line int,
      sku text NOT NULL,
      quantity int NOT NULL,
      unit_price_cents bigint NOT NULL,
      PRIMARY KEY (order_id, line)
    )`,
    sql`CREATE TABLE ${inSchema}.transitions (
      order_id text COLLATE "C",
      n int,
      state text NOT NULL,
      entered_at timestamptz NOT NULL,
      cause text NOT NULL,
      PRIMARY KEY (order_id, n)
    )`,
    sql`CREATE TABLE ${inSchema}.payments (
      order_id text COLLATE "C" PRIMARY KEY,
      seq bigint NOT NULL,
      status text NOT NULL,
      amount_cents bigint,
      currency text,
      capture_id text,
      decline_code text,
      captured_at timestamptz,
      declined_at timestamptz,
      voided_at timestamptz
    )`,
    sql`CREATE TABLE ${inSchema}.refunds (
      order_id text COLLATE "C" PRIMARY KEY,
      amount_cents bigint NOT NULL,
      currency text NOT NULL,
      refund_id text NOT NULL,
      refunded_at timestamptz NOT NULL
    )`,
    sql`CREATE TABLE ${inSchema}.revenue_daily (
      day date,
      currency text,
      captures bigint NOT NULL,
      captured_cents bigint NOT NULL,
      refunds bigint NOT NULL,
      refunded_cents bigint NOT NULL,
      PRIMARY KEY (day, currency)
    )`,
    sql`CREATE TABLE ${inSchema}.funnel_daily (
      day date,
      state text,
      reason text,
      orders bigint NOT NULL,
      PRIMARY KEY (day, state, reason)
    )`,
    sql`CREATE TABLE ${inSchema}.time_in_state_daily (
      day date,
      state text,
      visits bigint NOT NULL,
      total_ms bigint NOT NULL,
      longest_ms bigint NOT NULL,
      PRIMARY KEY (day, state)
    )`,
    sql`CREATE TABLE ${inSchema}.stock (
      sku text COLLATE "C" PRIMARY KEY,
      available bigint NOT NULL,
      reserved bigint NOT NULL,
      unit_price_cents bigint NOT NULL,
      currency text NOT NULL,
      seq bigint NOT NULL,
      changed_at timestamptz NOT NULL
    )`,
    sql`CREATE TABLE ${inSchema}.stock_movements (
      seq bigint,
      sku text COLLATE "C",
      kind text,
      quantity bigint NOT NULL,
      order_id text COLLATE "C",
      moved_at timestamptz NOT NULL,
      PRIMARY KEY (seq, sku, kind)
    )`,
    sql`CREATE INDEX stock_movements_order ON ${inSchema}.stock_movements (order_id)`,
    sql`CREATE TABLE ${inSchema}.screenings (
      order_id text COLLATE "C" PRIMARY KEY,
      seq bigint NOT NULL,
      outcome text NOT NULL,
      rules jsonb,
      reviewer text,
      screened_at timestamptz,
      expires_at timestamptz,
      decided_at timestamptz
    )`,
    sql`CREATE TABLE ${inSchema}.shipments (
      order_id text COLLATE "C" PRIMARY KEY,
      outcome text NOT NULL,
      carrier text,
      tracking_number text,
      failure text,
      concluded_at timestamptz NOT NULL
    )`,
    sql`CREATE TABLE ${inSchema}.mails (
      order_id text COLLATE "C",
      kind text,
      sent_at timestamptz NOT NULL,
      PRIMARY KEY (order_id, kind)
    )`,
  ];
  for (const statement of statements) await statement.execute(db);
}
