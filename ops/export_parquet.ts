import type { SchemaElement } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { type Cell, type Column, type ColumnType, type Line, linesOf } from "./export_columns.ts";
import type { Encoder } from "./export_formats.ts";
import type { OrderRecord } from "./export_records.ts";

/**
 * Rows that are in memory before they are written: some ten megabytes. Fewer make the file larger and slower to read. What
 * grows with the file is its footer, some kilobytes for each row group, which has to be known at the end.
 */
export const ROW_GROUP_ROWS = 10_000;

const types: Record<ColumnType, Pick<SchemaElement, "type" | "converted_type">> = {
  string: { type: "BYTE_ARRAY", converted_type: "UTF8" },
  int32: { type: "INT32" },
  int64: { type: "INT64" },
  // In UTC, by definition.
  timestamp: { type: "INT64", converted_type: "TIMESTAMP_MILLIS" },
};

const LINES = "lines";

/** Lists as the format's specification has them: three levels. */
const lineElements: readonly SchemaElement[] = [
  { name: LINES, repetition_type: "REQUIRED", converted_type: "LIST", num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", repetition_type: "REQUIRED", num_children: 3 },
  { name: "sku", repetition_type: "REQUIRED", ...types.string },
  { name: "quantity", repetition_type: "REQUIRED", ...types.int32 },
  { name: "unit_price_cents", repetition_type: "REQUIRED", ...types.int64 },
];

/** Apache Parquet with Snappy, all columns and the order's lines as a list. */
export function parquetEncoder(columns: readonly Column[]): Encoder {
  const buffer = new ByteWriter();
  const schema: SchemaElement[] = [
    { name: "orders", num_children: columns.length + 1 },
    ...columns.map(({ name, type, nullable }): SchemaElement => {
      return { name, repetition_type: nullable ? "OPTIONAL" : "REQUIRED", ...types[type] };
    }),
    ...lineElements,
  ];
  const writer = new ParquetWriter({ writer: buffer, schema, createdBy: "jetstream-checkout" });
  let cells: Cell[][] = columns.map(() => []);
  let lines: Line[][] = [];
  const writeGroup = () => {
    if (lines.length === 0) return;
    const columnData = columns.map(({ name }, index) => ({ name, data: cells[index] ?? [] }));
    writer.write({ columnData: [...columnData, { name: LINES, data: lines }], rowGroupSize: lines.length });
    cells = columns.map(() => []);
    lines = [];
  };
  const add = (record: OrderRecord) => {
    for (const [index, { cell }] of columns.entries()) cells[index]?.push(cell(record));
    lines.push(linesOf(record));
    if (lines.length === ROW_GROUP_ROWS) writeGroup();
  };
  /** What has been written since the last time; its place in the file is the writer's `offset`, which goes on. */
  const take = () => {
    const bytes = buffer.getBytes().slice();
    buffer.index = 0;
    return bytes;
  };
  return {
    encode(records) {
      for (const record of records) add(record);
      return take();
    },
    end() {
      writeGroup();
      writer.finish();
      return take();
    },
  };
}
