import pg from "pg";
import { initialStock, stockedSkus } from "../../sandbox.ts";

/** Stock in tables of the application's own. Each call is one statement, which is one transaction. */
export interface Inventory {
  /**
   * Whether the order has its unit. A step may run again after a crash, when its effect is there and its checkpoint is
   * not; a reservation is recorded under the order's id, so that the second time finds it.
   */
  reserve(orderId: string, sku: string): Promise<boolean>;
  /** Gives the unit back if the order has one. */
  release(orderId: string): Promise<void>;
}

const schema = `
  CREATE TABLE IF NOT EXISTS stock (
    sku text PRIMARY KEY,
    available integer NOT NULL CHECK (available >= 0)
  );
  CREATE TABLE IF NOT EXISTS reservation (
    order_id text PRIMARY KEY,
    sku text NOT NULL
  );`;

const reserve = `
  WITH earlier AS (
    SELECT FROM reservation WHERE order_id = $1
  ), taken AS (
    UPDATE stock SET available = available - 1
    WHERE sku = $2 AND available >= 1 AND NOT EXISTS (SELECT FROM earlier)
    RETURNING sku
  ), recorded AS (
    INSERT INTO reservation (order_id, sku) SELECT $1, sku FROM taken RETURNING sku
  )
  SELECT EXISTS (SELECT FROM earlier) OR EXISTS (SELECT FROM recorded) AS reserved`;

const release = `
  WITH given_back AS (
    DELETE FROM reservation WHERE order_id = $1 RETURNING sku
  )
  UPDATE stock SET available = available + 1 FROM given_back WHERE stock.sku = given_back.sku`;

/** Opens a pool of connections and makes the tables, with the skus in stock. */
export async function openInventory(connectionString: string): Promise<Inventory> {
  const pool = new pg.Pool({ connectionString });
  await pool.query(schema);
  await pool.query(
    "INSERT INTO stock (sku, available) SELECT unnest($1::text[]), $2 ON CONFLICT DO NOTHING",
    [stockedSkus, initialStock],
  );
  return {
    async reserve(orderId, sku) {
      // Named: parsed and planned once for each connection.
      const query = { name: "reserve", text: reserve, values: [orderId, sku] };
      const { rows } = await pool.query<{ reserved: boolean }>(query);
      return rows[0]?.reserved === true;
    },
    async release(orderId) {
      await pool.query({ name: "release", text: release, values: [orderId] });
    },
  };
}
