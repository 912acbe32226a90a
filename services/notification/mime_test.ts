import { createTransport } from "nodemailer";
import { describe, expect, it } from "vitest";
import { type Letter, toMessage } from "./mailer.ts";
import { composer } from "./mime.ts";
import { aLetter, parseMail } from "./test_support.ts";

const from = "Shop <orders@shop.example>";

/** The same letter as nodemailer writes it. Mails have lines that end in CRLF. */
async function byNodemailer(letter: Letter, sender = from): Promise<string> {
  const transport = createTransport({ streamTransport: true, buffer: true }, { from: sender });
  const text = letter.text.replaceAll("\n", "\r\n");
  const { message } = await transport.sendMail({
    ...toMessage(letter),
    text,
    textEncoding: "quoted-printable",
  });
  return String(message);
}

const letters: [what: string, change: Partial<Letter>][] = [
  ["one like any other", {}],
  ["a subject that is not ASCII", { subject: "Ihre Bestellung für Zoë: 注文 🛒" }],
  ["a subject that is longer than a line", { subject: `Your order ${"and another one ".repeat(20)}` }],
  ["a long subject that is not ASCII", { subject: "Größe ".repeat(40) }],
  ["a subject that looks as if it were encoded", { subject: "=?UTF-8?Q?hello?=" }],
  ["a subject with a control character", { subject: "a\u0000b\u007f" }],
  ["a subject with a line break", { subject: "Hello\r\nBcc: eve@example.com" }],
  ["a long name of the mail", { messageId: `<${"o".repeat(128)}.order_received@jetstream-checkout>` }],
  ["a domain that is not ASCII", { to: "ada@jõgeva.ee" }],
  ["an address that is not ASCII", { to: "žofie@jõgeva.ee" }],
  ["an address that looks like two", { to: "ada@example.com, eve@example.com" }],
  ["an address that brings a header along", { to: "ada@example.com\r\nBcc: eve@example.com" }],
  ["an address that has to be quoted", { to: "ada lovelace@example.com" }],
];

const texts: [what: string, text: string][] = [
  ["lines that are too long", `${"€".repeat(500)}\n${"word ".repeat(300)}\n${"x".repeat(2_000)} ×\n`],
  ["lines of dots", ".\n..\n.×\n\n.\n"],
  ["lines that end in white space", "a \nb\t\n×   \n"],
  ["what looks as if it were encoded", "a=C3=97b = \n=\n==\n×\n"],
  ["what looks like a header", "From: eve@example.com\nFrom eve\n\n--×--\n"],
  ["no end of line", "the end ×"],
  ["only what is not ASCII", "注文\n🛒👩‍👩‍👧\n"],
  ["only ASCII", "Hello\n"],
];

describe("composer()", () => {
  it.each(letters)("writes %s as nodemailer does, to the byte", async (_, change) => {
    const letter = aLetter(change);
    const mail = composer(from)(letter);
    expect(mail).toBe(await byNodemailer(letter));
    expect(parseMail(mail).text).toBe(letter.text);
  });

  it.each([
    "orders@shop.example",
    "Zoë's Shop, Ltd. <orders@shop.example>",
    `${"A very long name ".repeat(10)}<orders@shop.example>`,
  ])("writes the sender %s as nodemailer does", async (sender) => {
    expect(composer(sender)(aLetter())).toBe(await byNodemailer(aLetter(), sender));
  });

  it.each(texts)("keeps a text with %s, in lines that any mail server takes", (_, text) => {
    const mail = composer(from)(aLetter({ text }));
    expect(parseMail(mail).text).toBe(text);
    // RFC 5322: CRLF ends a line and nothing else does. RFC 2045: 76 characters, all of them ASCII.
    expect(mail).toMatch(/^([\t -~]{0,76}\r\n)*[\t -~]{0,76}$/);
  });

  it("writes one end of line for another", () => {
    expect(parseMail(composer(from)(aLetter({ text: "a\r\nb\rc\n" }))).text).toBe("a\nb\nc\n");
  });
});
