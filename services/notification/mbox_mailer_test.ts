import { execFile } from "node:child_process";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StartError } from "../../lib/mod.ts";
import { readMailboxes } from "../../test/support/mod.ts";
import type { Letter } from "./mailer.ts";
import { createMboxMailer } from "./mbox_mailer.ts";
import { aLetter, parseMail } from "./test_support.ts";

const from = "Shop <orders@shop.example>";

let dataDir: string;
let folder: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "mail-test-"));
  folder = join(dataDir, "mail");
});
afterEach(() => rm(dataDir, { recursive: true }));

/** A letter about an event that comes after the mailer has started. */
function aNewLetter(change: Partial<Letter> = {}): Letter {
  return aLetter({ date: new Date(Date.now() + 60_000), ...change });
}

/** Sends letters with a mailer of their own, as a process does that was started for them. */
async function sendAll(letters: readonly Letter[], { attempt = 1 } = {}): Promise<void> {
  await using mailer = await createMboxMailer({ dataDir, from });
  const { signal } = new AbortController();
  for (const letter of letters)
    expect(await mailer.send(letter, { signal, attempt })).toEqual({ kind: "sent" });
}

/** The file that letters about the order `o1` are in. */
async function mailbox(): Promise<string> {
  const mail = (await readMailboxes(folder)).find(({ source }) => source.includes("order o1"));
  if (mail === undefined) throw new Error("There is no mail");
  return join(folder, mail.mailbox);
}

/** Which mails are there, in the order in which they came. */
async function stored(): Promise<string[]> {
  return (await readMailboxes(folder)).map(({ messageId }) => messageId);
}

describe("createMboxMailer()", () => {
  it.each([
    ["user@[192.0.2.1]", "<user@[192.0.2.1]>"],
    ["user@bücher.example", "user@xn--bcher-kva.example"],
    ["用户@例え.jp", "用户@例え.jp"],
  ])("stores a mail to %s that a mail program can read", async (to, recipient) => {
    await sendAll([aLetter({ to })]);
    const [mail] = await readMailboxes(folder);
    const { headers, text } = parseMail(mail?.source ?? "");
    expect(headers.get("to")).toBe(recipient);
    expect(text).toBe(aLetter().text);
  });

  it("stores a mail that a mail program can read", async () => {
    await sendAll([aLetter()]);
    const mails = await readMailboxes(folder);
    expect(mails).toHaveLength(1);
    expect(mails[0]?.mailbox).toMatch(/^[0-9a-f]{2}\.mbox$/);
    expect(mails[0]?.from).toBe("MAILER-DAEMON Thu Jan  1 00:00:00 2026");
    const { headers, text } = parseMail(mails[0]?.source ?? "");
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

  it("stores all mails of an order in one mailbox, and those of others in 256 at most", async () => {
    const letters = Array.from({ length: 2_000 }, (_, n) => {
      const orderId = `o${n >> 1}`;
      const kind = n % 2 === 0 ? "order_received" : "order_completed";
      return aNewLetter({ orderId, kind, messageId: `<${orderId}.${kind}@jetstream-checkout>` });
    });
    await sendAll(letters);
    const mails = await readMailboxes(folder);
    expect(mails.map(({ messageId }) => messageId).sort()).toEqual(
      letters.map(({ messageId }) => messageId).sort(),
    );
    const mailboxes = Map.groupBy(mails, ({ messageId }) => messageId.slice(1, messageId.indexOf(".")));
    for (const both of mailboxes.values()) expect(new Set(both.map((mail) => mail.mailbox)).size).toBe(1);
    const names = await readdir(folder);
    expect(names.length).toBeGreaterThan(200);
    expect(names.length).toBeLessThanOrEqual(256);
  });

  it("stores a mail once that is sent again, by this process or another one", async () => {
    const other = aNewLetter({ orderId: "o2", messageId: "<o2@shop>" });
    const letter = aNewLetter();
    await sendAll([letter, other]);
    const before = await readFile(await mailbox());
    await sendAll([letter, letter], { attempt: 2 });
    expect(await readFile(await mailbox())).toEqual(before);
    expect((await stored()).sort()).toEqual([letter.messageId, other.messageId].sort());
  });

  it("stores a mail that is sent again and has not been stored", async () => {
    await sendAll([aNewLetter()], { attempt: 2 });
    expect(await stored()).toEqual([aLetter().messageId]);
  });

  it("looks for a mail at the first try too, if its event is older than the process", async () => {
    await sendAll([aLetter()]);
    await sendAll([aLetter()]);
    expect(await stored()).toEqual([aLetter().messageId]);
  });

  it("does not read a mailbox at the first try of what has just happened", async () => {
    const letter = aNewLetter();
    await sendAll([letter, letter]);
    expect(await stored()).toEqual([letter.messageId, letter.messageId]);
  });

  it("finds a mail wherever it is in a large mailbox", async () => {
    const letter = aNewLetter();
    await sendAll([letter]);
    const path = await mailbox();
    const entry = await readFile(path, "utf8");
    const chunk = 64 * 1024;
    const behind = [
      0,
      1,
      entry.length,
      chunk - entry.length,
      chunk - 2,
      chunk - 1,
      chunk,
      chunk + 1,
      3 * chunk,
    ];
    for (const before of ["", `${"x".repeat(2 * chunk)}\n`]) {
      for (const bytes of behind) {
        const text = before + entry + "\n".repeat(bytes);
        await writeFile(path, text);
        await sendAll([letter], { attempt: 2 });
        expect((await stat(path)).size, `${before.length} before, ${bytes} behind`).toBe(text.length);
      }
    }
  });

  it("takes no mail for another one, nor for one inside a line", async () => {
    const letter = aNewLetter();
    await sendAll([letter]);
    const path = await mailbox();
    await writeFile(path, `From x\n\n${await readFile(path, "utf8")}`);
    const { size } = await stat(path);
    await sendAll([{ ...letter, to: "eve@example.com" }], { attempt: 2 });
    expect((await stat(path)).size).toBeGreaterThan(size);
    await writeFile(path, `From x\n\n-${(await readFile(path, "utf8")).slice("From x\n\n".length)}`);
    await sendAll([letter], { attempt: 2 });
    expect((await readMailboxes(folder)).at(-1)?.source).toContain(`To: ${letter.to}`);
  });

  it("stores the whole mail behind one that broke off, wherever that was", async () => {
    const letter = aNewLetter();
    await sendAll([letter]);
    const path = await mailbox();
    const whole = await readFile(path, "utf8");
    for (let length = whole.length - 1; length > 0; length--) {
      await writeFile(path, whole.slice(0, length));
      await sendAll([letter], { attempt: 2 });
      const text = await readFile(path, "utf8");
      const torn = whole.slice(0, length);
      const expected = `${torn}${torn.endsWith("\n\n") ? "" : "\n\n"}${whole}`;
      // Of the last line and the empty one only the ends are missing: the mail is there.
      expect(text, `cut at ${length}`).toBe(length >= whole.trimEnd().length ? torn : expected);
    }
  });

  it("stores another mail behind one that broke off so that it can be read", async () => {
    const letter = aNewLetter();
    await using mailer = await createMboxMailer({ dataDir, from });
    const { signal } = new AbortController();
    await mailer.send(letter, { signal, attempt: 1 });
    const path = await mailbox();
    await truncate(path, (await stat(path)).size - 5);
    const next = { ...letter, messageId: "<next@shop>" };
    await mailer.send(next, { signal, attempt: 1 });
    expect((await readMailboxes(folder)).at(-1)).toMatchObject({ messageId: "<next@shop>" });
    await truncate(path, (await stat(path)).size - 5);
    await sendAll([{ ...letter, messageId: "<another@shop>" }]);
    expect((await readMailboxes(folder)).at(-1)).toMatchObject({ messageId: "<another@shop>" });
  });

  it("adds nothing between mails of two processes that take turns", async () => {
    await using one = await createMboxMailer({ dataDir, from });
    await using other = await createMboxMailer({ dataDir, from });
    const { signal } = new AbortController();
    for (let n = 0; n < 3; n++) {
      await one.send(aNewLetter(), { signal, attempt: 1 });
      await other.send(aNewLetter(), { signal, attempt: 1 });
    }
    expect(await stored()).toHaveLength(6);
    expect(await readFile(await mailbox(), "utf8")).not.toContain("\n\n\n");
  });

  it.each([
    { to: "ada@example.com\r\nBcc: eve@example.com" },
    { to: "ada@example.com, eve@example.com" },
    { subject: "Hello\r\nBcc: eve@example.com" },
    { subject: "Hello\r\n\r\nand a body" },
    { subject: "Hello\r\nFrom MAILER-DAEMON Thu Jan  1 00:00:00 2026" },
    { messageId: "<x@y>\r\nBcc: eve@example.com" },
  ])("lets no header in through %j", async (change) => {
    await sendAll([aLetter(change)]);
    const mails = await readMailboxes(folder);
    expect(mails).toHaveLength(1);
    const { headers, text } = parseMail(mails[0]?.source ?? "");
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

  it("lets no mail in through a text", async () => {
    const text = "Hello\n\nFrom MAILER-DAEMON Thu Jan  1 00:00:00 2026\nSubject: Me\n\n>From me\n";
    await sendAll([aLetter({ text })]);
    const mails = await readMailboxes(folder);
    expect(mails).toHaveLength(1);
    expect(parseMail(mails[0]?.source ?? "").text).toBe(text);
  });

  it.each(["../../etc/passwd", "a/b", ".", "", "\0"])(
    "stays in its folder for the order %j",
    async (orderId) => {
      await sendAll([aLetter({ orderId })]);
      expect(await readdir(dataDir)).toEqual(["mail"]);
      expect(await stored()).toHaveLength(1);
    },
  );

  it.each<[what: string, empty: () => Promise<unknown>]>([
    ["the folder", () => rm(folder, { recursive: true })],
    ["the mailbox", async () => rm(await mailbox())],
    ["the mailbox, but not its file", async () => truncate(await mailbox())],
    [
      "the mailbox by another file",
      async () => {
        const path = await mailbox();
        await writeFile(`${path}.new`, "");
        await rename(`${path}.new`, path);
      },
    ],
  ])("goes on when somebody has emptied %s", async (_, empty) => {
    await using mailer = await createMboxMailer({ dataDir, from });
    const { signal } = new AbortController();
    await mailer.send(aNewLetter(), { signal, attempt: 1 });
    await empty();
    await mailer.send(aNewLetter(), { signal, attempt: 1 });
    await mailer.send(aNewLetter(), { signal, attempt: 2 });
    expect(await stored()).toEqual([aLetter().messageId]);
  });

  it("says which mailbox cannot be written, and stores the mail once it can", async () => {
    await sendAll([aNewLetter()]);
    const path = await mailbox();
    await rm(path);
    await mkdir(path);
    await using mailer = await createMboxMailer({ dataDir, from });
    const { signal } = new AbortController();
    const sending = mailer.send(aNewLetter(), { signal, attempt: 1 });
    await expect(sending).rejects.toThrow(new RegExp(`^Cannot add a mail to ${path}: EISDIR`));
    await rmdir(path);
    await mailer.send(aNewLetter(), { signal, attempt: 2 });
    expect(await stored()).toEqual([aLetter().messageId]);
  });

  it("says that the disk has no more room for a mail, and stores the mail once it has", async () => {
    const letters = Array.from({ length: 8 }, (_, n) => aNewLetter({ messageId: `<${n}@shop>` }));
    // A file of this process may have two kilobytes at most: of one of the letters a part is stored.
    const program = `
      import { createMboxMailer } from ${JSON.stringify(new URL("./mbox_mailer.ts", import.meta.url).href)};
      const mailer = await createMboxMailer(${JSON.stringify({ dataDir, from })});
      for (const letter of ${JSON.stringify(letters)}) {
        await mailer.send({ ...letter, date: new Date(letter.date) }, { attempt: 1 });
      }`;
    const node = [process.execPath, "--input-type=module", "--eval", program];
    const run = promisify(execFile)("bash", ["-c", 'ulimit -f 2; exec "$@"', "bash", ...node]);
    const { stderr } = await run.catch((cause: { stderr: string }) => cause);
    expect(stderr).toMatch(/Cannot add a mail to .*\.mbox: \d+ of \d+ bytes were written/);
    const { size } = await stat(await mailbox());
    expect(size).toBe(2_048);
    await sendAll(letters, { attempt: 2 });
    const whole = (await readMailboxes(folder)).filter(({ source }) =>
      source.trimEnd().endsWith("=E2=82=AC24.00"),
    );
    expect(whole.map(({ messageId }) => messageId)).toEqual(letters.map(({ messageId }) => messageId));
  });

  it("cannot start where it cannot write", async () => {
    await writeFile(folder, "a file is in the way");
    await expect(createMboxMailer({ dataDir, from })).rejects.toThrow(StartError);
  });
});
