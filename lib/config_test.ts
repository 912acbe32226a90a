import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { common, milliseconds, port, readConfig, StartError } from "./config.ts";

const needed = { NATS_URL: "nats://127.0.0.1:4222", OPERATOR_TOKEN: "s3cret" };

function faultOf(shape: z.ZodRawShape, environment: Record<string, string>): string {
  try {
    readConfig("payment", shape, environment);
  } catch (cause) {
    expect(cause).toBeInstanceOf(StartError);
    return (cause as StartError).message;
  }
  throw new Error("It was accepted");
}

describe("readConfig()", () => {
  it("names every variable that is missing, in one line", () => {
    expect(faultOf(common, {})).toBe("Cannot start payment: set NATS_URL, set OPERATOR_TOKEN");
    expect(faultOf(common, { NATS_URL: "nats://nats:4222" })).toBe(
      "Cannot start payment: set OPERATOR_TOKEN",
    );
  });

  it("takes an empty variable for one that is not set", () => {
    expect(faultOf(common, { NATS_URL: "", OPERATOR_TOKEN: "" })).toBe(
      "Cannot start payment: set NATS_URL, set OPERATOR_TOKEN",
    );
    expect(readConfig("payment", common, { ...needed, HOST: "", LOG_LEVEL: "" })).toMatchObject({
      HOST: "127.0.0.1",
      LOG_LEVEL: "info",
    });
  });

  it.each([
    ["NATS_URL", "nats://shop:hunter2@nats:4222"],
    ["REGISTRY_URL", "hunter2"],
    ["LOG_LEVEL", "hunter2"],
    ["REPLICAS", "hunter2"],
    ["TEST_PORT", "hunter2"],
    ["TEST_TIMEOUT_MS", "hunter2"],
  ])("says that %s is wrong, and does not repeat what may be a secret", (name, value) => {
    const shape = { ...common, TEST_PORT: port(1), TEST_TIMEOUT_MS: milliseconds(1) };
    const fault = faultOf(shape, { ...needed, [name]: value });
    expect(fault).toMatch(new RegExp(`^Cannot start payment: correct ${name} \\(.+\\)$`));
    expect(fault).not.toContain("hunter2");
  });

  it.each([
    ["TEST_PORT", "-1"],
    ["TEST_PORT", "65536"],
    ["TEST_PORT", "80.5"],
    ["TEST_TIMEOUT_MS", "0"],
    ["TEST_TIMEOUT_MS", "1.5"],
  ])("takes no %s of %s", (name, value) => {
    const shape = { TEST_PORT: port(1), TEST_TIMEOUT_MS: milliseconds(1) };
    expect(faultOf(shape, { [name]: value })).toContain(`correct ${name}`);
  });

  it("fills in defaults, reads numbers, and leaves out what nobody asked for", () => {
    const config = readConfig(
      "payment",
      { TEST_PORT: port(8083), WAIT_MS: milliseconds(5) },
      { TEST_PORT: "0", HOME: "x" },
    );
    expect(config).toEqual({ TEST_PORT: 0, WAIT_MS: 5 });
  });

  it.each([
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"],
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces"],
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"],
    ["OTEL_TRACES_EXPORTER", "zipkin"],
    ["OTEL_TRACES_SAMPLER", "sometimes"],
    ["OTEL_TRACES_SAMPLER_ARG", "2"],
    ["OTEL_SDK_DISABLED", "yes"],
  ])("takes no %s of %s", (name, value) => {
    expect(faultOf(common, { ...needed, [name]: value })).toMatch(
      new RegExp(`^Cannot start payment: correct ${name} `),
    );
  });

  it("has no default for the operator's token", () => {
    expect(() => readConfig("payment", common, { NATS_URL: needed.NATS_URL })).toThrow(StartError);
  });
});
