import { describe, expect, it } from "vitest";
import { commandOf, readyUrl, serviceNamed } from "./command.ts";
import { nodeArguments, services } from "./mod.ts";

describe("commandOf()", () => {
  it.each(services)("runs $name with its permissions and the files that its variables name", (service) => {
    const environment = {
      DATA_DIR: "/data",
      NATS_NKEY_FILE: "/credential/seed.nk",
      NATS_TLS_CA: "tls/ca.pem",
      NATS_TLS_KEY: "",
    };
    expect(commandOf(service, { root: "/app", environment }).args).toEqual(
      nodeArguments(service, {
        root: "/app",
        dataDir: "/data",
        reads: ["/credential/seed.nk", "/app/tls/ca.pem"],
      }),
    );
  });

  it("lets nobody read the disk of the store but who watches it", () => {
    const environment = { STORE_DISK: "/credential" };
    const reads = services.filter((service) => {
      const { args } = commandOf(service, { root: "/app", environment });
      return args.includes("--allow-fs-read=/credential");
    });
    expect(reads.map(({ name }) => name)).toEqual(["order"]);
  });

  it("keeps the secrets of others from a service", () => {
    const environment = {
      SMTP_URL: "smtp://mail",
      STRIPE_SECRET_KEY: "sk",
      LOG_LEVEL: "warn",
      UNSET: undefined,
    };
    const { env } = commandOf(serviceNamed("payment"), { root: "/app", environment });
    expect(env).toEqual({ STRIPE_SECRET_KEY: "sk", LOG_LEVEL: "warn" });
  });
});

describe("serviceNamed()", () => {
  it("says which services there are", () => {
    expect(() => serviceNamed("orders")).toThrow(/no service "orders": it is one of order, /);
  });
});

describe("readyUrl()", () => {
  it("asks the port that the service listens on", () => {
    expect(readyUrl(serviceNamed("order"), {})).toBe("http://127.0.0.1:8080/readyz");
    expect(readyUrl(serviceNamed("order"), { ORDER_PORT: "18080" })).toBe("http://127.0.0.1:18080/readyz");
  });
});
