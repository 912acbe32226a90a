import { describe, expect, it } from "vitest";
import { copyOrder, type Original, templateOf, withRemoved } from "./history.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const at = { timersAt: new Date(0) };
const original = (subject: string, headers: Record<string, string>, data = ""): Original => ({
  subject,
  headers: Object.entries(headers),
  data: Buffer.from(data),
});

describe("copyOrder()", () => {
  it("puts the new id wherever the old one stands", () => {
    const mail = original("notification.mail.ord_1.received", { "ce-subject": "ord_1" }, "ord_1 and ord_1.");
    const [copy] = copyOrder(templateOf("ord_1", [mail]), "ord_2", at);
    expect(copy?.subject).toBe("notification.mail.ord_2.received");
    expect(text(copy?.headers.encode() ?? new Uint8Array())).toBe("NATS/1.0\r\nce-subject: ord_2\r\n\r\n");
    expect(text(copy?.data ?? new Uint8Array())).toBe("ord_2 and ord_2.");
    expect(text(mail.data)).toBe("ord_1 and ord_1.");
  });

  it("leaves out what the server was asked for or said of one write, and sets timers anew", () => {
    const headers = {
      "Nats-Expected-Last-Subject-Sequence": "7",
      "Nats-Batch-Id": "b",
      "Nats-Sequence": "8",
      "Nats-Schedule": "@at 2020-01-01T00:00:00Z",
      "Nats-Schedule-Target": "checkout.deadline_passed.ord_1",
    };
    const [copy] = copyOrder(templateOf("ord_1", [original("t.ord_1", headers)]), "ord_2", at);
    expect(text(copy?.headers.encode() ?? new Uint8Array()).split("\r\n")).toEqual([
      "NATS/1.0",
      "Nats-Schedule-Target: checkout.deadline_passed.ord_2",
      "Nats-Schedule: @at 1970-01-01T00:00:00.000Z",
      "",
      "",
    ]);
  });

  it("refuses an id of another length, which the lengths in the payload would not fit", () => {
    expect(() => copyOrder(templateOf("ord_1", []), "ord_12", at)).toThrow(RangeError);
  });
});

describe("withRemoved()", () => {
  it("puts a message behind the rest of its batch", () => {
    const batch = { "Nats-Batch-Id": "1" };
    const [a, b, c] = [original("a", batch), original("b", batch), original("c", { "Nats-Batch-Id": "2" })];
    const timer = original("timer", batch);
    expect(withRemoved([a, b, c], [timer])).toEqual([a, b, timer, c]);
  });
});
