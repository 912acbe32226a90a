import { describe, expect, it } from "vitest";
import { type Contract, orderCreated } from "../contracts/mod.ts";
import { dataSchemaOf, ReadGate, schemaIdIn } from "./read_gate.ts";
import { compileEdited, type Edits, fileNamed, requiredPriority, topologyOf } from "./testing.ts";
import type { StoredSchema } from "./view.ts";

const path = "shop/order/v1/order_created.proto";
const url = (id: number) => dataSchemaOf("http://registry", id);

/** A gate over a registry that holds one schema of each build, from id 1 on. Counts who is looked up. */
async function gateOver(...builds: Edits[]): Promise<{ gate: ReadGate; lookedUp: number[] }> {
  const files = await Promise.all(builds.map(compileEdited));
  const lookedUp: number[] = [];
  const gate = new ReadGate({
    async schema(id) {
      lookedUp.push(id);
      const file = files[id - 1];
      return (
        file && {
          id,
          guid: "",
          file: fileNamed(file, path),
          text: "",
          references: [] satisfies StoredSchema["references"],
        }
      );
    },
    subject: async () => ({ versions: files }),
  });
  return { gate, lookedUp };
}

const withGift: Edits = {
  [path]: [["string attempt_id = 3;", "string attempt_id = 3;\n  string gift_note = 5;"]],
};

describe("ReadGate", () => {
  it("lets a message of the schema that this build has pass, and looks once", async () => {
    const { gate, lookedUp } = await gateOver({});
    expect(await gate.check(orderCreated, url(1))).toBeUndefined();
    // Without a promise: nobody waits for what is known.
    expect(gate.check(orderCreated, url(1))).toBeUndefined();
    expect(lookedUp).toEqual([1]);
  });

  it("lets newer and older schemas pass that can be read", async () => {
    const { gate } = await gateOver(withGift, {});
    expect(await gate.check(orderCreated, url(1))).toBeUndefined();
    const newer: Contract = topologyOf(await compileEdited(withGift)).contractOf(orderCreated);
    expect(await gate.check(newer, url(2))).toBeUndefined();
  });

  it("says what cannot be read, and where", async () => {
    const { gate } = await gateOver(
      { [path]: [["string attempt_id = 3;", "int64 attempt_id = 3;"]] },
      requiredPriority,
      { "shop/order/v1/order.proto": [["int32 quantity = 2;", "string quantity = 2;"]] },
    );
    expect(await gate.check(orderCreated, url(1))).toBe(
      "schema 1 cannot be read as the shop.order.v1.OrderCreated of this build: " +
        "FIELD_SCALAR_KIND_CHANGED at #/OrderCreated/3 (int64 attempt_id = 3 → string attempt_id = 3)",
    );
    expect(await gate.check(orderCreated, url(2))).toContain("REQUIRED_FIELD_REMOVED at #/OrderCreated/5");
    expect(await gate.check(orderCreated, url(3))).toContain("quantity = 2");
  });

  it("does not mind what is in the message's file besides", async () => {
    const { gate } = await gateOver({
      [path]: [["message OrderCreated {", "message Another {}\n\nmessage OrderCreated {"]],
    });
    expect(await gate.check(orderCreated, url(1))).toBeUndefined();
  });

  it("refuses a message that names no schema, or one that is not there", async () => {
    const { gate } = await gateOver({});
    expect(await gate.check(orderCreated, "")).toBe("it names no schema (ce-dataschema)");
    for (const unknown of [
      url(7),
      "http://registry/schemas/guids/0",
      "http://registry/schemas/ids/0",
      "seven",
    ]) {
      expect(await gate.check(orderCreated, unknown)).toBe(
        `it names a schema that the registry does not have: ${unknown}`,
      );
    }
  });

  it("refuses a schema without the message", async () => {
    const { gate } = await gateOver({ [path]: [["message OrderCreated {", "message OrderMade {"]] });
    expect(await gate.check(orderCreated, url(1))).toBe("schema 1 has no shop.order.v1.OrderCreated");
  });

  it("looks again after the registry's data could not be read", async () => {
    let failing = true;
    const gate = new ReadGate({
      async schema() {
        if (failing) throw new Error("no answer");
        return undefined;
      },
      subject: async () => ({ versions: [1] }),
    });
    await expect(gate.check(orderCreated, url(1))).rejects.toThrow("no answer");
    failing = false;
    expect(await gate.check(orderCreated, url(1))).toContain("does not have");
  });
});

describe("ReadGate with a registry that has lost its data", () => {
  it("blames no message, until the writer has registered its schemas again", async () => {
    let versions: unknown[] | undefined;
    const gate = new ReadGate({
      schema: async () => undefined,
      subject: async () => versions && { versions },
    });
    await expect(gate.check(orderCreated, url(1))).rejects.toThrow("has lost all schemas of order.created");
    versions = [];
    await expect(gate.check(orderCreated, url(1))).rejects.toThrow("has lost all schemas of order.created");
    versions = [1];
    expect(await gate.check(orderCreated, url(1))).toContain("does not have");
    expect(await gate.check(orderCreated, "")).toContain("names no schema");
  });
});

describe("schemaIdIn()", () => {
  it("reads what dataSchemaOf() writes, and nothing else", () => {
    expect(schemaIdIn(url(12))).toBe(12);
    for (const other of ["", "12", "http://registry/schemas/ids/", "http://registry/schemas/ids/1/x"]) {
      expect(schemaIdIn(other)).toBeUndefined();
    }
  });
});
