import { join } from "node:path";
import { expect, test } from "vitest";
import { describeConfig, readConfig } from "./config.ts";
import { projectFolder } from "./nats_server.mjs";

test("readConfig() has a default for everything", () => {
  const config = readConfig({});
  expect(config).toMatchObject({
    dataDir: join(projectFolder, ".data"),
    operatorToken: "dev",
    maxFileStore: "10GB",
  });
  expect(config.ports).toMatchObject({ NATS_PORT: 4222, NATS_MONITOR_PORT: 8222, ORDER_PORT: 8080 });
});

test("readConfig() takes an empty variable for an unset one", () => {
  expect(readConfig({ DATA_DIR: "", ORDER_PORT: "", OPERATOR_TOKEN: "" }).ports.ORDER_PORT).toBe(8080);
});

test.each(["0", "65536", "8080x", "-1", "1e3"])("readConfig() refuses %s as a port", (value) => {
  expect(() => readConfig({ ORDER_PORT: value })).toThrow(
    `Cannot start: ORDER_PORT is "${value}", not a port (1 to 65535)`,
  );
});

test("readConfig() refuses a size that nats-server would not understand", () => {
  expect(readConfig({ NATS_MAX_FILE_STORE: "512M" }).maxFileStore).toBe("512M");
  expect(() => readConfig({ NATS_MAX_FILE_STORE: "lots" })).toThrow("NATS_MAX_FILE_STORE");
});

test("describeConfig() names every port's variable", () => {
  for (const variable of Object.keys(readConfig({}).ports)) expect(describeConfig()).toContain(variable);
});
