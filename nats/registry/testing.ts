import { readdir, readFile } from "node:fs/promises";
import type { DescFile } from "@bufbuild/protobuf";
import { compile, type FileSet } from "../../schemas/mod.ts";
import { type Contract, contract } from "../contracts/mod.ts";
import { topology as shop, type Topology } from "../topology.ts";

// Another build of the shop, for tests: what its services would be compiled against if somebody had edited proto/.

const proto = new URL("../../proto/", import.meta.url);

/** By path in `proto/`: the text to replace, and what comes in its place. */
export type Edits = Readonly<Record<string, readonly (readonly [before: string, after: string])[]>>;

/** `proto/` with edits, compiled. @throws {RangeError} If a text is not there. */
export async function compileEdited(edits: Edits): Promise<FileSet> {
  const paths = (await readdir(proto, { recursive: true })).filter((path) => path.endsWith(".proto"));
  const sources = await Promise.all(
    paths.map(async (path) => {
      let text = await readFile(new URL(path, proto), "utf8");
      for (const [before, after] of edits[path] ?? []) {
        if (!text.includes(before)) throw new RangeError(`Cannot edit ${path}: there is no ${before}`);
        text = text.replace(before, after);
      }
      return [path, text] as const;
    }),
  );
  return compile(Object.fromEntries(sources));
}

/** The shop as a build of these files has it: each contract with its message there. */
export function topologyOf(files: FileSet): {
  topology: Topology;
  contractOf: (contract: Contract) => Contract;
} {
  const twins = new Map<Contract, Contract>();
  const contractOf = (original: Contract) => {
    const schema = files.getMessage(original.schema.typeName);
    if (schema === undefined) throw new RangeError(`Cannot find ${original.schema.typeName} in that build`);
    const twin = twins.get(original) ?? contract(original.subject, schema, { keep: original.keep });
    twins.set(original, twin);
    return twin;
  };
  const topology: Topology = {
    ...shop,
    contracts: (shop.contracts ?? []).map(contractOf),
    consumers: shop.consumers.map((it) => ({ ...it, contracts: it.contracts.map(contractOf) })),
    live: (shop.live ?? []).map((it) => ({
      ...it,
      index: contractOf(it.index),
      state: contractOf(it.state),
    })),
  };
  return { topology, contractOf };
}

/** The story that the gates are for: `shipping_priority` becomes required on `order.created`. */
export const requiredPriority: Edits = {
  "shop/order/v1/order_created.proto": [
    [`syntax = "proto3";`, `edition = "2023";`],
    [
      `string attempt_id = 3;`,
      `string attempt_id = 3;\n  string shipping_priority = 5 [features.field_presence = LEGACY_REQUIRED];`,
    ],
  ],
};

export function fileNamed(files: FileSet, path: string): DescFile {
  const file = files.getFile(path);
  if (file === undefined) throw new RangeError(`There is no ${path}`);
  return file;
}
