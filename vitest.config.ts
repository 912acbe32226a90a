import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{bench,lib,nats,ops,schemas,services,tools,test}/**/*_test.ts"],
    exclude: ["**/node_modules/**"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores: whole systems are started by several test files.
    maxWorkers: 2,
  },
});
