import { stringify } from "csv-stringify/sync";
import { type Cell, type Column, linesOf } from "./export_columns.ts";
import { parquetEncoder } from "./export_parquet.ts";
import type { OrderRecord } from "./export_records.ts";

/** Writes one file: what the calls return, one after the other, is its content. */
export interface Encoder {
  /** May return nothing yet, and keeps a bounded number of records then. */
  encode(records: readonly OrderRecord[]): string | Uint8Array;
  /** What is left, and whatever ends a file. The last call. */
  end(): string | Uint8Array;
}

export const formats = {
  csv: csvEncoder,
  json: jsonEncoder,
  parquet: parquetEncoder,
} as const satisfies Record<string, (columns: readonly Column[]) => Encoder>;

export type Format = keyof typeof formats;
export const formatNames = Object.keys(formats) as Format[];

/**
 * RFC 4180 with a header: CRLF, quotes where they are needed, UTF-8 without a mark. Null is an empty cell. Lines are not in
 * it, but how many there are.
 *
 * Text that a spreadsheet would take for a formula (`=`, `+`, `-`, `@`, …) has a `'` in front of it, by OWASP's advice on
 * CSV injection: some of it was typed by customers, and people open such files. The other formats have it as it is.
 */
function csvEncoder(columns: readonly Column[]): Encoder {
  const write = (rows: string[][]) =>
    stringify(rows, { record_delimiter: "windows", quote_record_delimiter: true, escape_formulas: true });
  const header = write([columns.map(({ name }) => name)]);
  let begun = false;
  const begin = () => {
    if (begun) return "";
    begun = true;
    return header;
  };
  return {
    encode: (records) =>
      begin() + write(records.map((record) => columns.map(({ cell }) => textOf(cell(record))))),
    end: begin,
  };
}

function textOf(cell: Cell): string {
  return cell === null ? "" : cell instanceof Date ? cell.toISOString() : String(cell);
}

/**
 * JSON Lines: one object a line, with all columns, null included, and the order's lines. Cents are numbers: they are far below
 * 2^53, since the order service refuses totals of more than eleven digits.
 */
function jsonEncoder(columns: readonly Column[]): Encoder {
  return {
    encode: (records) => records.map((record) => `${JSON.stringify(rowOf(record, columns))}\n`).join(""),
    end: () => "",
  };
}

/** As JSON can have it. */
function rowOf(record: OrderRecord, columns: readonly Column[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (const { name, cell } of columns) {
    const value = cell(record);
    row[name] = typeof value === "bigint" ? Number(value) : value;
  }
  row.lines = linesOf(record).map((line) => ({ ...line, unit_price_cents: Number(line.unit_price_cents) }));
  return row;
}
