import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseMbox, sentMails } from "./mails.ts";

const mail = (id: string, text = "Hello\n\nYour shop\n") =>
  `From x Thu Jan  1 00:00:00 2026\nTo: a@b\nMessage-ID: <${id}@shop>\n\n${text}\n`;

describe("parseMbox()", () => {
  it("takes mails apart, and takes their quotes away", () => {
    expect(parseMbox(mail("1") + mail("2", ">From me\n>>From me\n > me\n"))).toEqual([
      {
        from: "x Thu Jan  1 00:00:00 2026",
        messageId: "<1@shop>",
        source: "To: a@b\r\nMessage-ID: <1@shop>\r\n\r\nHello\r\n\r\nYour shop\r\n",
      },
      {
        from: "x Thu Jan  1 00:00:00 2026",
        messageId: "<2@shop>",
        source: "To: a@b\r\nMessage-ID: <2@shop>\r\n\r\nFrom me\r\n>From me\r\n > me\r\n",
      },
    ]);
  });

  it("finds no mail in an empty mailbox, and reads nothing that is none", () => {
    expect(parseMbox("")).toEqual([]);
    expect(() => parseMbox("\nFrom x\n")).toThrow("does not begin with a mail");
  });
});

describe("sentMails()", () => {
  it("names a mail as often as it is there, in whatever mailbox or folder, and none that broke off", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mail-test-"));
    try {
      const torn = mail("2").slice(0, -8);
      await writeFile(join(folder, "00.mbox"), `${mail("1")}${torn}\n\n${mail("2")}${mail("1")}`);
      await writeFile(join(folder, "01.mbox"), `${mail("1")}${mail("3").slice(0, 60)}`);
      expect(await sentMails(folder)).toEqual(["<1@shop>", "<2@shop>", "<1@shop>", "<1@shop>"]);
      expect(await sentMails(folder, folder)).toHaveLength(8);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
