import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Where the processes that tests start keep what Node has compiled: half of what a start takes. */
const compileCache = join(import.meta.dirname, ".cache", "compile");
mkdirSync(compileCache, { recursive: true });

export default defineConfig({
  test: {
    include: ["{bench,lib,nats,ops,schemas,services,tools,test}/**/*_test.ts"],
    exclude: ["**/node_modules/**"],
    env: { NODE_COMPILE_CACHE: compileCache },
    // Most take a second. On a machine that does other work as well, whole systems take ten times as long to start.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Files share a process: loading everything anew for each of them took a tenth of the time. What a file starts, it ends.
    isolate: false,
    // Two cores: whole systems are started by several test files.
    maxWorkers: 2,
  },
});
