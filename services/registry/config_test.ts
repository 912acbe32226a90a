import { describe, expect, it } from "vitest";
import { readRegistryConfig } from "./config.ts";

const environment = { NATS_URL: "nats://localhost:4222", OPERATOR_TOKEN: "secret" };

describe("readRegistryConfig()", () => {
  it("needs no token of those who register on loopback", () => {
    expect(readRegistryConfig({ ...environment, HOST: "127.0.0.1" })).toMatchObject({ REGISTRY_PORT: 8081 });
  });

  it("names the token that is missing where others can reach it", () => {
    const open = { ...environment, HOST: "0.0.0.0" };
    expect(() => readRegistryConfig(open)).toThrow("set REGISTRY_TOKEN");
    // An empty one would be everybody's who sends none.
    expect(() => readRegistryConfig({ ...open, REGISTRY_TOKEN: "" })).toThrow("REGISTRY_TOKEN");
    expect(readRegistryConfig({ ...open, REGISTRY_TOKEN: "token" })).toMatchObject({
      REGISTRY_TOKEN: "token",
    });
  });

  it("makes the folder for its data absolute", () => {
    expect(readRegistryConfig({ ...environment, DATA_DIR: "some/data" }).DATA_DIR).toMatch(
      /^\/.*\/some\/data$/,
    );
  });
});
