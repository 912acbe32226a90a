import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { topology } from "../nats/mod.ts";
import { eventTable, insertBetweenMarkers } from "./event_table.ts";

const proto = new URL("../proto/", import.meta.url);

describe("README.md", () => {
  it("has the event table that the contracts and the topology make (npm run docs)", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    expect(readme).toBe(insertBetweenMarkers(readme, "events", await eventTable(proto)));
  });
});

describe("eventTable()", () => {
  it("has a row for everything that a consumer reads", async () => {
    const table = await eventTable(proto);
    for (const { contracts } of topology.consumers) {
      for (const { subject } of contracts) expect(table).toContain(`| \`${subject}.<`);
    }
  });
});

describe("insertBetweenMarkers()", () => {
  it("refuses a text without the markers", () => {
    expect(() => insertBetweenMarkers("nothing", "events", "x")).toThrow(RangeError);
  });
});
