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

test("readConfig() moves every port by as much as PORT_BASE moves order's, but for those that are set themselves", () => {
  const standard = readConfig({}).ports;
  const { ports } = readConfig({ PORT_BASE: "18000", FRAUD_PORT: "8084" });
  const moved = Object.entries(standard).map(([variable, port]) => [variable, port + 18_000 - 8_080]);
  expect(ports).toEqual({ ...Object.fromEntries(moved), FRAUD_PORT: 8084 });
  expect(ports).toMatchObject({ ORDER_PORT: 18_000, MONITOR_PORT: 18_009, NATS_PORT: 14_142 });
});

test.each(["x", "0", "3858", "65500", "70000"])("readConfig() refuses %s as PORT_BASE", (value) => {
  expect(() => readConfig({ PORT_BASE: value })).toThrow(`Cannot start: PORT_BASE is "${value}", not`);
});

test("readConfig() refuses a size that nats-server would not understand", () => {
  expect(readConfig({ NATS_MAX_FILE_STORE: "512M" }).maxFileStore).toBe("512M");
  expect(() => readConfig({ NATS_MAX_FILE_STORE: "lots" })).toThrow("NATS_MAX_FILE_STORE");
});

test("describeConfig() names every port's variable", () => {
  for (const variable of Object.keys(readConfig({}).ports)) expect(describeConfig()).toContain(variable);
});
