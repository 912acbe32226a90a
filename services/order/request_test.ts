import { describe, expect, it } from "vitest";
import { hashRequest, OrderBody, readIdempotencyKey } from "./request.ts";
import { body } from "./test_shop.ts";

const { customer, shipping_address: address } = body;
const line = (quantity: unknown, sku: unknown = "mug") => ({ ...body, lines: [{ sku, quantity }] });
const manyLines = (count: number) => ({
  ...body,
  lines: Array.from({ length: count }, (_, n) => ({ sku: `sku-${n}`, quantity: 1 })),
});

/** Pointers of the faults that the schema finds. */
function faults(content: unknown): string[] {
  const read = OrderBody.safeParse(content);
  return read.success ? [] : read.error.issues.map((issue) => issue.path.join("/"));
}

describe("OrderBody", () => {
  const good: [string, unknown][] = [
    ["the example of the interface", body],
    [
      "a trial without an address",
      { ...body, customer: { ...customer, plan: "trial" }, shipping_address: undefined },
    ],
    ["express", { ...body, shipping_priority: "express" }],
    ["no priority", { ...body, shipping_priority: undefined }],
    ["the most of one sku", line(10_000)],
    ["a hundred lines", manyLines(100)],
    ["a mail address of another script", { ...body, customer: { ...customer, email: "用户@例え.jp" } }],
    ["an address literal", { ...body, customer: { ...customer, email: "user@[IPv6:2001:db8::1]" } }],
    [
      "names of other scripts",
      { ...body, shipping_address: { ...address, name: "Zoë 李 👩‍🚀", city: "Kraków" } },
    ],
  ];
  it.each(good)("takes %s", (_name, content) => {
    expect(faults(content)).toEqual([]);
  });

  const bad: [string, string, unknown][] = [
    ["nothing", "", null],
    ["a list", "", []],
    ["a text", "", "order"],
    ["no customer", "customer", { ...body, customer: undefined }],
    ["a customer id with spaces", "customer/id", { ...body, customer: { ...customer, id: "a b" } }],
    ["a customer id with a dot", "customer/id", { ...body, customer: { ...customer, id: "a.b" } }],
    ["no mail address", "customer/email", { ...body, customer: { ...customer, email: "ada" } }],
    [
      "a mail address that would be two headers",
      "customer/email",
      { ...body, customer: { ...customer, email: "ada@example.com\r\nBcc: eve@example.com" } },
    ],
    [
      "a mail address that is too long",
      "customer/email",
      { ...body, customer: { ...customer, email: `${"a".repeat(250)}@example.com` } },
    ],
    ["another plan", "customer/plan", { ...body, customer: { ...customer, plan: "gold" } }],
    ["no lines", "lines", { ...body, lines: [] }],
    ["lines that are no list", "lines", { ...body, lines: { sku: "mug", quantity: 1 } }],
    ["more than a hundred lines", "lines", manyLines(101)],
    ["quantity 0", "lines/0/quantity", line(0)],
    ["quantity -1", "lines/0/quantity", line(-1)],
    ["quantity 1.5", "lines/0/quantity", line(1.5)],
    ["quantity 1e9", "lines/0/quantity", line(1e9)],
    ["a quantity in words", "lines/0/quantity", line("1")],
    ["no quantity", "lines/0/quantity", line(undefined)],
    ["a sku that is no token", "lines/0/sku", line(1, "mug.*")],
    ["an empty sku", "lines/0/sku", line(1, "")],
    ["a sku that is too long", "lines/0/sku", line(1, "x".repeat(65))],
    [
      "lines of one sku that are too much together",
      "lines",
      {
        ...body,
        lines: [
          { sku: "mug", quantity: 6_000 },
          { sku: "mug", quantity: 4_001 },
        ],
      },
    ],
    ["a price", "lines/0", { ...body, lines: [{ sku: "mug", quantity: 1, unit_price_cents: 1 }] }],
    ["a total", "", { ...body, total_cents: 1 }],
    ["no address for a standard plan", "shipping_address", { ...body, shipping_address: undefined }],
    ["a null address", "shipping_address", { ...body, shipping_address: null }],
    [
      "a country in words",
      "shipping_address/country",
      { ...body, shipping_address: { ...address, country: "UK!" } },
    ],
    ["a blank name", "shipping_address/name", { ...body, shipping_address: { ...address, name: "  " } }],
    [
      "a line break",
      "shipping_address/name",
      { ...body, shipping_address: { ...address, name: "Ada\nBcc: x" } },
    ],
    ["a NUL", "shipping_address/line1", { ...body, shipping_address: { ...address, line1: "12\u0000" } }],
    [
      "a line separator",
      "shipping_address/city",
      { ...body, shipping_address: { ...address, city: "a\u2028b" } },
    ],
    [
      "half a surrogate pair",
      "shipping_address/city",
      { ...body, shipping_address: { ...address, city: "a\ud800" } },
    ],
    [
      "a name that is too long",
      "shipping_address/name",
      { ...body, shipping_address: { ...address, name: "x".repeat(101) } },
    ],
    ["another priority", "shipping_priority", { ...body, shipping_priority: "now" }],
    ["an empty token", "payment_token", { ...body, payment_token: "" }],
    ["a token with a line break", "payment_token", { ...body, payment_token: "tok\n" }],
    ["an unknown field", "", { ...body, coupon: "x" }],
  ];
  it.each(bad)("refuses %s", (_name, pointer, content) => {
    expect(faults(content)).toContain(pointer);
  });

  it("makes one line of those with the same sku", () => {
    const lines = [
      { sku: "mug", quantity: 1 },
      { sku: "desk", quantity: 2 },
      { sku: "mug", quantity: 3 },
    ];
    expect(OrderBody.parse({ ...body, lines }).lines).toEqual([
      { sku: "mug", quantity: 4 },
      { sku: "desk", quantity: 2 },
    ]);
  });
});

describe("hashRequest()", () => {
  const hash = (content: unknown) => hashRequest(OrderBody.parse(content));

  it("is what it was before a request could say what it should come to, unless it does", () => {
    expect(hash(body)).toBe(hash({ ...body, expected_total_cents: undefined }));
    expect(hash({ ...body, expected_total_cents: 1 })).not.toBe(hash(body));
    expect(hash({ ...body, expected_total_cents: 1 })).not.toBe(hash({ ...body, expected_total_cents: 2 }));
  });

  it("is the same for the same wish in other words", () => {
    const { payment_token, lines: _, ...rest } = body;
    const once = {
      ...body,
      lines: [
        { sku: "mug", quantity: 2 },
        { sku: "desk", quantity: 1 },
      ],
    };
    const lines = [
      { quantity: 1, sku: "desk" },
      { quantity: 1, sku: "mug" },
      { quantity: 1, sku: "mug" },
    ];
    expect(hash({ payment_token, ...rest, lines })).toBe(hash(once));
    expect(hash({ ...body, shipping_priority: undefined })).toBe(hash(body));
  });

  it("differs in every field", () => {
    const others = [
      line(2),
      line(1, "desk"),
      { ...body, payment_token: "tok_slow" },
      { ...body, shipping_priority: "express" },
      { ...body, customer: { ...customer, id: "cus_2" } },
      { ...body, shipping_address: { ...address, line2: "Flat 1" } },
    ];
    expect(new Set([body, ...others].map(hash)).size).toBe(7);
  });
});

describe("readIdempotencyKey()", () => {
  it.each(["a key * > .", "x".repeat(255)])("takes any printable key: %j", (header) => {
    expect(readIdempotencyKey(header)).toBe(header);
  });

  it.each([undefined, "", "x".repeat(256), "clé", "a\tb"])("refuses %j", (header) => {
    expect(() => readIdempotencyKey(header)).toThrow(expect.objectContaining({ status: 400 }));
  });
});
