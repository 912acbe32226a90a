import { create, isFieldSet } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ItemSchema } from "../../gen/shop/inventory/v1/item_pb.ts";
import { contract, decode, encode, key, message, splitSubject, subjectOf } from "./contract.ts";
import * as shop from "./shop.ts";

const thing = contract("test.thing", ItemSchema);

describe("subjectOf()", () => {
  it("appends the id, which may have several tokens", () => {
    expect(subjectOf(thing, "a")).toBe("test.thing.a");
    expect(subjectOf(thing, "a.b-c_d")).toBe("test.thing.a.b-c_d");
    expect(key(thing, "a").subject).toBe("test.thing.a");
    expect(message(thing, "a", { sku: "a" }).subject).toBe("test.thing.a");
  });

  for (const id of ["", ".", "a.", ".a", "a..b", "*", "a.*", ">", "a.>", "a b", "a\n", "a\t"]) {
    it(`refuses ${JSON.stringify(id)}`, () => {
      expect(() => subjectOf(thing, id)).toThrow(RangeError);
    });
  }
});

describe("splitSubject()", () => {
  it("is the other way round, whatever the number of tokens", () => {
    expect(splitSubject("test.thing.a")).toEqual({ prefix: "test.thing", id: "a" });
    expect(splitSubject("test.thing.a.b")).toEqual({ prefix: "test.thing", id: "a.b" });
    expect(splitSubject("test.thing")).toEqual({ prefix: "test.thing", id: "" });
    expect(splitSubject("test")).toEqual({ prefix: "test", id: "" });
  });
});

describe("decode()", () => {
  it("gives back what was encoded", () => {
    const value = create(ItemSchema, { sku: "mug", available: 3n });
    expect(decode(thing, encode(thing, value))).toEqual(value);
  });

  it("throws on what is no message", () => {
    expect(() => decode(thing, new Uint8Array([255, 255]))).toThrow(Error);
  });

  it("leaves out what was not set", () => {
    const value = decode(thing, new Uint8Array());
    expect(isFieldSet(value, ItemSchema.field.sku)).toBe(false);
  });
});

describe("the shop's contracts", () => {
  const contracts = Object.values(shop);

  it("have a subject of two tokens each, which is nobody else's", () => {
    for (const { subject } of contracts) expect(subject).toMatch(/^[a-z_]+\.[a-z_]+$/);
    expect(new Set(contracts.map(({ subject }) => subject)).size).toBe(contracts.length);
  });

  it("carry a message of their owner, or of what waits", () => {
    for (const { subject, schema } of contracts) {
      const [owner] = subject.split(".");
      expect(schema.typeName).toMatch(new RegExp(`^shop\\.(${owner}|waiting)\\.v1\\.`));
    }
  });
});
