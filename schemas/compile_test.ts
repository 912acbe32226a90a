import { createRequire } from "node:module";
import { expect, it } from "vitest";
import { bufPackage } from "./compile.ts";

const { optionalDependencies } = createRequire(import.meta.url)("@bufbuild/buf/package.json");

it.each([
  ["linux", "x64"],
  ["linux", "arm64"],
  ["linux", "arm"],
  ["darwin", "arm64"],
  ["darwin", "x64"],
])("bufPackage() names a package that there is for %s on %s", (platform, arch) => {
  expect(Object.keys(optionalDependencies)).toContain(bufPackage({ platform, arch }));
});
