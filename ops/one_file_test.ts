import { describe, expect, it } from "vitest";
import { CheckoutStateSchema } from "../gen/shop/checkout/v1/checkout_state_pb.ts";
import { compile, fileOf } from "../schemas/mod.ts";
import { printAlone } from "./one_file.ts";

describe("printAlone()", () => {
  it("copies what the file uses of others, and says over the message what it is told", async () => {
    const text = printAlone(CheckoutStateSchema, { comment: ["what it is", "@RootNode"] });
    expect(text).toContain(
      "// what it is\n// @RootNode\nmessage CheckoutState {\n  .shop.checkout.v1.Order order = 1;",
    );
    expect(text.match(/^import .*$/gm)).toEqual(['import "google/protobuf/timestamp.proto";']);
    const files = await compile({ "alone.proto": text });
    const copied = files.getMessage("shop.checkout.v1.Order");
    const original = CheckoutStateSchema.field.order.message;
    expect(copied?.fields.map(({ number, name }) => `${number} ${name}`)).toEqual(
      original?.fields.map(({ number, name }) => `${number} ${name}`),
    );
  });

  it("takes a longer name where one is taken, leaves out what nobody uses, and follows imports of imports", async () => {
    const head = 'syntax = "proto3";\npackage';
    const files = await compile({
      "a.proto": `${head} a;\nimport "b.proto";\nmessage Root { b.Line line = 1; Line own = 2; map<string, b.Kind> kinds = 3; }\nmessage Line {}`,
      "b.proto": `${head} b;\nimport "c.proto";\nmessage Line { c.Outer.Inner inner = 1; }\nenum Kind { KIND_UNSPECIFIED = 0; }\nmessage Unused {}`,
      "c.proto": `${head} c;\nmessage Outer { message Inner { Outer outer = 1; } }`,
    });
    const [root] = fileOf(files, "a.proto").messages;
    if (root === undefined) throw new Error("not compiled");
    const alone = (await compile({ "alone.proto": printAlone(root) })).getFile("alone.proto");
    expect(alone?.messages.map(({ name }) => name)).toEqual(["Root", "Line", "b_Line", "Outer"]);
    expect(alone?.enums.map(({ name }) => name)).toEqual(["Kind"]);
    expect(alone?.messages[2]?.field.inner?.message?.typeName).toBe("a.Outer.Inner");
    expect(alone?.messages[0]?.field.line?.message?.typeName).toBe("a.b_Line");
    expect(alone?.messages[0]?.field.own?.message?.typeName).toBe("a.Line");
  });

  it("refuses to copy from a file of another syntax, which would mean something else", async () => {
    const files = await compile({
      "a.proto": 'syntax = "proto3";\nimport "b.proto";\nmessage Root { Old old = 1; }',
      "b.proto": 'syntax = "proto2";\nmessage Old { optional int32 n = 1 [default = 3]; }',
    });
    const [root] = fileOf(files, "a.proto").messages;
    expect(() => root && printAlone(root)).toThrow(RangeError);
  });
});
