import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StartError } from "../../lib/mod.ts";
import { createFileMailer } from "./file_mailer.ts";
import type { Letter } from "./mailer.ts";
import { aLetter, parseMail } from "./test_support.ts";

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "mail-test-"));
});
afterEach(() => rm(dataDir, { recursive: true }));

/** Every file below the folder, by its path. */
async function files(): Promise<string[]> {
  const entries = await readdir(join(dataDir, "mail"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function sendAll(letters: readonly Letter[]): Promise<void> {
  await using mailer = await createFileMailer({ dataDir, from: "Shop <orders@shop.example>" });
  const { signal } = new AbortController();
  for (const letter of letters)
    expect(await mailer.send(letter, { signal, attempt: 1 })).toEqual({ kind: "sent" });
}

describe("createFileMailer()", () => {
  it("stores a mail that a mail program can read", async () => {
    await sendAll([aLetter()]);
    const [path = ""] = await files();
    expect(path.slice(dataDir.length)).toMatch(/^\/mail\/[0-9a-f]{2}\/o1\.order_received\.eml$/);
    const { headers, text } = parseMail(await readFile(path, "utf8"));
    expect(Object.fromEntries(headers)).toMatchObject({
      from: "Shop <orders@shop.example>",
      to: "ada@example.com",
      subject: "We have your order o1",
      "message-id": "<o1.order_received@jetstream-checkout>",
      date: "Thu, 01 Jan 2026 00:00:00 +0000",
      "auto-submitted": "auto-generated",
      "content-type": "text/plain; charset=utf-8",
    });
    expect(text).toBe(aLetter().text);
  });

  it("leaves one file of a mail that is sent again, the same to the byte", async () => {
    await sendAll([aLetter()]);
    const [path = ""] = await files();
    const first = await readFile(path);
    await sendAll([aLetter(), aLetter()]);
    expect(await files()).toEqual([path]);
    expect(await readFile(path)).toEqual(first);
  });

  it("stores one file for each mail, and no half of one", async () => {
    const orders = Array.from({ length: 50 }, (_, n) => aLetter({ orderId: `o${n}` }));
    await using mailer = await createFileMailer({ dataDir, from: "orders@shop.example" });
    const { signal } = new AbortController();
    await Promise.all([...orders, ...orders].map((letter) => mailer.send(letter, { signal, attempt: 1 })));
    const paths = await files();
    expect(paths).toHaveLength(50);
    expect(paths.every((path) => path.endsWith(".eml"))).toBe(true);
  });

  it.each([
    { to: "ada@example.com\r\nBcc: eve@example.com" },
    { to: "ada@example.com, eve@example.com" },
    { subject: "Hello\r\nBcc: eve@example.com" },
    { subject: "Hello\r\n\r\nand a body" },
    { messageId: "<x@y>\r\nBcc: eve@example.com" },
  ])("lets no header in through %j", async (change) => {
    await sendAll([aLetter(change)]);
    const [path = ""] = await files();
    const { headers, text } = parseMail(await readFile(path, "utf8"));
    expect([...headers.keys()].sort()).toEqual([
      "auto-submitted",
      "content-transfer-encoding",
      "content-type",
      "date",
      "from",
      "message-id",
      "mime-version",
      "subject",
      "to",
    ]);
    expect(text).toBe(aLetter().text);
  });

  it.each(["../../etc/passwd", "a/b", ".", ""])("stores nothing under the order %j", async (orderId) => {
    await using mailer = await createFileMailer({ dataDir, from: "orders@shop.example" });
    const { signal } = new AbortController();
    await expect(mailer.send(aLetter({ orderId }), { signal, attempt: 1 })).rejects.toThrow(RangeError);
    expect(await files()).toEqual([]);
  });

  it("goes on when somebody has emptied the mailbox", async () => {
    await using mailer = await createFileMailer({ dataDir, from: "orders@shop.example" });
    const { signal } = new AbortController();
    await mailer.send(aLetter(), { signal, attempt: 1 });
    await rm(join(dataDir, "mail"), { recursive: true });
    await mailer.send(aLetter(), { signal, attempt: 1 });
    expect(await files()).toHaveLength(1);
  });

  it("leaves nothing of a mail that cannot be stored, and says so", async () => {
    await using mailer = await createFileMailer({ dataDir, from: "orders@shop.example" });
    const { signal } = new AbortController();
    await mailer.send(aLetter(), { signal, attempt: 1 });
    const [path = ""] = await files();
    await rm(path);
    await mkdir(path);
    await expect(mailer.send(aLetter(), { signal, attempt: 1 })).rejects.toThrow("EISDIR");
    expect(await files()).toEqual([]);
  });

  it("cannot start where it cannot write", async () => {
    await writeFile(join(dataDir, "mail"), "a file is in the way");
    await expect(createFileMailer({ dataDir, from: "orders@shop.example" })).rejects.toThrow(StartError);
  });
});
