import { describe, expect, it } from "vitest";
import { environmentFor, nodeArguments, services } from "./mod.ts";

const environment = {
  STRIPE_SECRET_KEY: "sk",
  SMTP_URL: "smtp://mail",
  REGISTRY_TOKEN: "rt",
  LOG_LEVEL: "warn",
};

describe("environmentFor()", () => {
  it.each(services)("gives $name its own secrets and no other's", (service) => {
    expect(environmentFor(service, environment)).toEqual({
      LOG_LEVEL: "warn",
      ...(service.name === "payment" && { STRIPE_SECRET_KEY: "sk" }),
      ...(service.name === "notification" && { SMTP_URL: "smtp://mail" }),
      ...(service.name === "registry" && { REGISTRY_TOKEN: "rt" }),
    });
  });
});

describe("nodeArguments()", () => {
  it.each(services)("lets $name read its code and not the state of others", (service) => {
    const args = nodeArguments(service, { root: "/app", dataDir: "/app/.data" });
    const reads = args.filter((argument) => argument.startsWith("--allow-fs-read="));
    expect(reads).not.toContain("--allow-fs-read=/app");
    expect(reads.filter((argument) => argument.includes(".data"))).toEqual(
      service.writes.map((folder) => `--allow-fs-read=/app/.data/${folder}`),
    );
  });

  it("lets a process read its own figures in /proc, and not its environment", () => {
    const [service] = services;
    if (service === undefined) throw new Error("no service");
    const args = nodeArguments(service, { root: "/app", dataDir: "/app/.data" });
    const own = args.filter((argument) => argument.includes("/proc"));
    expect(own).toEqual(["status", "limits", "fd"].map((file) => `--allow-fs-read=/proc/self/${file}`));
  });
});
