import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { RequestLog } from "./request_log.ts";

describe("RequestLog", () => {
  const lines: Record<string, unknown>[] = [];
  const sink = { write: (line: string) => void lines.push(JSON.parse(line)) };

  it("says what is shared with each entry, and a child's on top of it", () => {
    const log = new RequestLog(pino({ level: "info" }, sink), { trace_id: "t1" });
    log.info({ n: 1 }, "one");
    log.child({ order_id: "ord_1" }).error({ n: 2 }, "two");
    log.debug({ n: 3 }, "three");
    log.warn({ n: 4 }, "four");
    expect(lines).toMatchObject([
      { msg: "one", trace_id: "t1", n: 1 },
      { msg: "two", trace_id: "t1", order_id: "ord_1", n: 2 },
      { msg: "four", trace_id: "t1", n: 4 },
    ]);
    expect(lines[2]).not.toHaveProperty("order_id");
  });
});
