import type { MessageShape } from "@bufbuild/protobuf";
import { parquetMetadata } from "hyparquet";
import { describe, expect, it } from "vitest";
import type { CheckoutStateSchema } from "../gen/shop/checkout/v1/checkout_state_pb.ts";
import { columns } from "./export_columns.ts";
import { formatNames, formats } from "./export_formats.ts";
import { ROW_GROUP_ROWS } from "./export_parquet.ts";
import type { OrderRecord } from "./export_records.ts";
import { liveBytes, messagesOf } from "./export_testing.ts";

const PAGE = 1_000;

function record(n: number): OrderRecord {
  const checkout = messagesOf(n)[1]?.value as MessageShape<typeof CheckoutStateSchema>;
  if (checkout.order === undefined) throw new Error("an order has its snapshot");
  return { order: checkout.order, checkout };
}

function* pages(count: number): Generator<OrderRecord[]> {
  for (let from = 0; from < count; from += PAGE)
    yield Array.from({ length: Math.min(PAGE, count - from) }, (_, index) => record(from + index));
}

describe.each(formatNames)("%s", (format) => {
  it("needs no more memory for forty thousand orders than for ten thousand", () => {
    const encoder = formats[format](columns);
    const live: number[] = [];
    let count = 0;
    for (const page of pages(4 * ROW_GROUP_ROWS)) {
      encoder.encode(page);
      count += page.length;
      if (count % ROW_GROUP_ROWS === 0) live.push(liveBytes());
    }
    expect(encoder.end().length).toBeGreaterThanOrEqual(0);
    const [first = 0, ...later] = live;
    // A row of Parquet that is kept would be half a kilobyte; a row group leaves some kilobytes for the footer.
    expect(Math.max(...later) - first).toBeLessThan(2e6);
  });
});

describe("parquet", () => {
  it("writes row groups of a bounded size, each as soon as it is full", () => {
    const encoder = formats.parquet(columns);
    const chunks: (string | Uint8Array)[] = [];
    for (const page of pages(2 * ROW_GROUP_ROWS + 500)) chunks.push(encoder.encode(page));
    expect(chunks.flatMap(({ length }, index) => (length > 4 ? [index] : []))).toEqual([9, 19]);
    chunks.push(encoder.end());
    const file = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk as Uint8Array)));
    const { row_groups } = parquetMetadata(Uint8Array.from(file).buffer);
    expect(row_groups.map(({ num_rows }) => Number(num_rows))).toEqual([ROW_GROUP_ROWS, ROW_GROUP_ROWS, 500]);
  });
});
