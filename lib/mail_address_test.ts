import { describe, expect, it } from "vitest";
import { isMailAddress, mailDomain } from "./mail_address.ts";

/** Of three octets each in UTF-8. */
const ideographs = (count: number) => "用".repeat(count);

describe("isMailAddress()", () => {
  it.each([
    "ada@example.com",
    "ada.lovelace+shop@mail.example.co.uk",
    "!#$%&'*+/=?^_`{|}~-@example.com",
    "1@2.example3",
    "user@[192.0.2.1]",
    "user@[IPv6:2001:db8::1]",
    "user@[ipv6:::ffff:192.0.2.1]",
    "user@bücher.example",
    "user@xn--bcher-kva.example",
    "用户@例え.jp",
    "δοκιμή@παράδειγμα.δοκιμή",
    "žofie@jõgeva.ee",
    "अजय@डाटा.भारत",
    "نام\u200cها@example.com",
    "🛒@example.com",
    `${"a".repeat(64)}@example.com`,
    `${ideographs(21)}@example.com`,
    `a@${"b.".repeat(124)}info`,
  ])("takes %s", (address) => {
    expect(isMailAddress(address)).toBe(true);
  });

  it.each([
    "",
    "ada",
    "@example.com",
    "ada@",
    "ada@@example.com",
    "ada@eve@example.com",
    "ada@example",
    "ada@example.com.",
    "ada@example..com",
    "ada@.example.com",
    "ada@-example.com",
    "ada@exa_mple.com",
    ".ada@example.com",
    "ada.@example.com",
    "a..da@example.com",
    "ada lovelace@example.com",
    "ada@exam ple.com",
    " ada@example.com",
    "ada@example.com ",
    "ada\u00a0l@example.com",
    "ada\u3000l@example.com",
    "ada\t@example.com",
    "ada\u0000@example.com",
    "ada\u0085@example.com",
    "ada@example.com\n",
    "ada@example.com\r\nBcc: eve@example.com",
    "ada\r\n@example.com",
    "ada\u2028@example.com",
    "\u202eada@example.com",
    "ad\u00ada@example.com",
    "ada@exam\u00adple.com",
    "ada@exam\u200bple.com",
    "ada\ud800@example.com",
    "ada@example.com,eve@example.com",
    "ada@example.com, eve@example.com",
    "ada,eve@example.com",
    "ada;eve@example.com",
    "Ada <ada@example.com>",
    "<ada@example.com>",
    "ada(home)@example.com",
    "group:ada@example.com",
    '"ada"@example.com',
    '"ada lovelace"@example.com',
    "ada\\@example.com",
    "ada@192.0.2.1",
    "ada@example.123",
    "ada@exam%70le.com",
    "ada@example.com/evil.com",
    "ada@例え。jp",
    "user@[192.0.2]",
    "user@[192.0.2.256]",
    "user@[2001:db8::1]",
    "user@[IPv6:fe80::1%eth0]",
    "user@[IPv6:2001:db8::g]",
    "user@[192.0.2.1",
    "user@[192.0.2.1].com",
    "user@[x@evil.example]",
    "user@[]",
    `${"a".repeat(60)}(@example.com`,
    `${"a".repeat(65)}@example.com`,
    `${ideographs(22)}@example.com`,
    `a@${"b".repeat(64)}.com`,
    `a@${"b.".repeat(125)}info`,
    `a@${"例.".repeat(60)}info`,
    `a@${"b".repeat(100_000)}`,
    `${"a.".repeat(50_000)}@example.com`,
  ])("refuses %j", (address) => {
    expect(isMailAddress(address)).toBe(false);
  });
});

describe("mailDomain()", () => {
  it.each([
    ["ada@EXAMPLE.com", "example.com"],
    ["ada@bücher.example", "xn--bcher-kva.example"],
    ["ada@ｅxample.com", "example.com"],
    ["ada@[192.0.2.1]", ""],
  ])("of %s is %j", (address, domain) => {
    expect(mailDomain(address)).toBe(domain);
  });
});
