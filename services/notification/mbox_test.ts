import { describe, expect, it } from "vitest";
import { parseMbox } from "../../test/support/mod.ts";
import { mboxEntry } from "./mbox.ts";

const date = new Date("2026-01-01T00:00:00Z");

describe("mboxEntry()", () => {
  it("begins with a line that says when, and ends with an empty one", () => {
    expect(mboxEntry("Subject: Hello\r\n\r\nHello,\r\nAda\r\n", date)).toBe(
      "From MAILER-DAEMON Thu Jan  1 00:00:00 2026\nSubject: Hello\n\nHello,\nAda\n\n",
    );
  });

  it("says when in UTC, with all digits", () => {
    const entry = mboxEntry("\r\n", new Date("2026-10-31T23:59:58.999Z"));
    expect(entry).toMatch(/^From MAILER-DAEMON Sat Oct 31 23:59:58 2026\n/);
  });

  it("quotes what would begin another mail, and what is quoted", () => {
    const mail = "a: b\r\n\r\nFrom me\r\n>From me\r\n>>From me\r\n From me\r\nFrom: me\r\nnot From me\r\n";
    expect(mboxEntry(mail, date).split("\n").slice(3)).toEqual([
      ">From me",
      ">>From me",
      ">>>From me",
      " From me",
      "From: me",
      "not From me",
      "",
      "",
    ]);
  });

  it.each([
    ["one like any other", "a: b\r\n\r\nHello\r\n"],
    ["one that quotes", "a: b\r\n\r\nFrom me\r\n>From me\r\n"],
    ["one that ends with empty lines", "a: b\r\n\r\nHello\r\n\r\n\r\n"],
    ["one without a text", "a: b\r\n\r\n"],
  ])("can be read, and gives the mail back to the byte: %s", (_, mail) => {
    const entries = parseMbox(mboxEntry(mail, date).repeat(2));
    expect(entries.map(({ source }) => source)).toEqual([mail, mail]);
  });

  it("ends the last line of a mail that does not", () => {
    expect(mboxEntry("a: b\r\n\r\nHello", date)).toBe(mboxEntry("a: b\r\n\r\nHello\r\n", date));
  });
});
