import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{lib,nats,ops,services,tools,test}/**/*_test.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores: whole systems are started by several test files.
    maxWorkers: 2,
  },
});
