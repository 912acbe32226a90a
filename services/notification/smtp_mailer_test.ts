import { describe, expect, it } from "vitest";
import { freePorts } from "../../test/support/mod.ts";
import { createSmtpMailer } from "./smtp_mailer.ts";
import { aLetter, type Refusal, startSmtp } from "./test_support.ts";

const from = "Shop <orders@shop.example>";
const { signal } = new AbortController();

describe("createSmtpMailer()", () => {
  it("hands a mail to the server, to its one recipient", async () => {
    await using smtp = await startSmtp();
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    expect(await mailer.send(aLetter(), { signal, attempt: 1 })).toEqual({ kind: "sent" });
    const [mail] = smtp.mails;
    expect(smtp.mails).toHaveLength(1);
    expect(mail?.to).toEqual(["ada@example.com"]);
    expect(mail?.text.trim()).toBe(aLetter().text.trim());
    expect(mail?.headers.get("message-id")).toBe("<o1.order_received@jetstream-checkout>");
    expect(mail?.headers.get("from")).toBe(from);
  });

  it("hands over many mails on few connections", async () => {
    await using smtp = await startSmtp();
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    const letters = Array.from({ length: 200 }, (_, n) => aLetter({ orderId: `o${n}`, subject: `${n}` }));
    const results = await Promise.all(letters.map((letter) => mailer.send(letter, { signal, attempt: 1 })));
    expect(results.every(({ kind }) => kind === "sent")).toBe(true);
    expect(new Set(smtp.mails.map(({ headers }) => headers.get("subject"))).size).toBe(200);
    expect(smtp.mails).toHaveLength(200);
    // Five, and one that takes over while another says goodbye.
    expect(smtp.mostConnections).toBeLessThanOrEqual(6);
  });

  it.each([
    ["user@[192.0.2.1]", "<user@[192.0.2.1]>", false],
    ["user@[IPv6:2001:db8::1]", "<user@[ipv6:2001:db8::1]>", false],
    ["user@bücher.example", "user@xn--bcher-kva.example", false],
    ["用户@例え.jp", "用户@例え.jp", true],
    ["δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@παράδειγμα.δοκιμή", true],
  ])("hands a mail to %s over for %s", async (to, written, utf8) => {
    await using smtp = await startSmtp();
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    expect(await mailer.send(aLetter({ to }), { signal, attempt: 1 })).toEqual({ kind: "sent" });
    // The server decodes what came as punycode, which was all ASCII if it came without SMTPUTF8.
    expect(smtp.mails).toMatchObject([{ to: [to], utf8 }]);
    expect(smtp.mails[0]?.headers.get("to")).toBe(written);
    expect(smtp.mails[0]?.text.trim()).toBe(aLetter().text.trim());
  });

  it("refuses a mail for good that the server cannot take, having no SMTPUTF8", async () => {
    await using smtp = await startSmtp(0, { utf8: false });
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    const send = (to: string) => mailer.send(aLetter({ to }), { signal, attempt: 1 });
    const reason = expect.stringContaining("SMTPUTF8");
    expect(await send("用户@例え.jp")).toEqual({ kind: "refused", reason });
    expect(await send("user@bücher.example")).toEqual({ kind: "sent" });
    expect(smtp.mails.map(({ to }) => to)).toEqual([["user@bücher.example"]]);
  });

  it("sends a mail again of which the server cannot be asked whether it takes it", async () => {
    await using smtp = await startSmtp();
    smtp.refuse = { at: "connect", code: 554, text: "No service here" };
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    const letter = aLetter({ to: "用户@例え.jp" });
    expect(await mailer.send(letter, { signal, attempt: 1 })).toMatchObject({ kind: "unavailable" });
    smtp.refuse = undefined;
    expect(await mailer.send(letter, { signal, attempt: 2 })).toEqual({ kind: "sent" });
  });

  it.each<Refusal>([
    { at: "rcpt", code: 550, text: "No such user" },
    { at: "data", code: 552, text: "Too much" },
    { at: "data", code: 554, text: "Looks like spam" },
  ])("says that a mail is refused for good: $code at $at", async (refuse) => {
    await using smtp = await startSmtp();
    smtp.refuse = refuse;
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    const reason = expect.stringContaining(refuse.text);
    expect(await mailer.send(aLetter(), { signal, attempt: 1 })).toEqual({ kind: "refused", reason });
  });

  it.each<Refusal>([
    { at: "connect", code: 421, text: "Closing" },
    { at: "connect", code: 554, text: "No service here" },
    { at: "mail", code: 451, text: "Try again later" },
    { at: "mail", code: 553, text: "Not a sender of ours" },
    { at: "rcpt", code: 450, text: "Mailbox busy" },
    { at: "rcpt", code: 503, text: "Bad sequence" },
    { at: "data", code: 451, text: "Local error" },
  ])("says to try again what is not the mail's fault: $code at $at", async (refuse) => {
    await using smtp = await startSmtp();
    smtp.refuse = refuse;
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    expect(await mailer.send(aLetter(), { signal, attempt: 1 })).toMatchObject({ kind: "unavailable" });
    smtp.refuse = undefined;
    expect(await mailer.send(aLetter(), { signal, attempt: 2 })).toEqual({ kind: "sent" });
    expect(smtp.mails).toHaveLength(1);
  });

  it("says to try again with a server that is down", async () => {
    const [port = 0] = await freePorts(1);
    await using mailer = createSmtpMailer({ url: `smtp://127.0.0.1:${port}`, from });
    expect(await mailer.send(aLetter(), { signal, attempt: 1 })).toMatchObject({ kind: "unavailable" });
  });

  it("refuses an address that is two, or brings a header along", async () => {
    await using smtp = await startSmtp();
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    for (const to of ["ada@example.com\r\nRCPT TO:<eve@example.com>", "ada@example.com, eve@example.com"]) {
      await mailer.send(aLetter({ to }), { signal, attempt: 1 });
    }
    expect(smtp.mails.flatMap(({ to }) => to)).not.toContain("eve@example.com");
  });

  it("begins no mail once the service is stopping", async () => {
    await using smtp = await startSmtp();
    await using mailer = createSmtpMailer({ url: smtp.url, from });
    const stopping = new AbortController();
    const letters = Array.from({ length: 50 }, (_, n) => aLetter({ orderId: `o${n}` }));
    const sending = letters.map((letter) => mailer.send(letter, { signal: stopping.signal, attempt: 1 }));
    await sending[0];
    stopping.abort();
    const results = await Promise.allSettled(sending);
    const sent = results.filter(({ status }) => status === "fulfilled");
    expect(sent.length).toBe(smtp.mails.length);
    expect(sent.length).toBeLessThan(50);
  });
});
