import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { announceShop, findShop } from "./running_shop.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "running-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const shop = () => ({
  pid: process.pid,
  natsUrl: "nats://127.0.0.1:14222",
  nkeyFile: join(folder, "credentials", "operator.nk"),
  operatorToken: "dev",
  urls: { order: "http://127.0.0.1:18080" },
});

describe("findShop()", () => {
  it("finds the shop that runs on DATA_DIR, and says where it looked", () => {
    using _ = announceShop(folder, shop());
    const found = findShop({ DATA_DIR: folder });
    expect(found).toMatchObject({ servers: shop().natsUrl, nkeyFile: shop().nkeyFile, running: shop() });
    expect(found.how).toBe(
      `${join(folder, "running.json")} says so, which process ${process.pid} has written`,
    );
  });

  it.each([
    [{ NATS_URL: "nats://elsewhere:4222" }, "nats://elsewhere:4222", "NATS_URL says so"],
    [{ NATS_PORT: "5222" }, "nats://127.0.0.1:5222", "NATS_PORT says so"],
    [{ PORT_BASE: "28080" }, "nats://127.0.0.1:24222", "PORT_BASE says so"],
  ])("lets %j win over it", (environment, servers, how) => {
    using _ = announceShop(folder, shop());
    expect(findShop({ DATA_DIR: folder, ...environment })).toMatchObject({
      servers,
      how,
      running: undefined,
    });
  });

  it("takes the standard port where none runs, and says so", () => {
    const found = findShop({ DATA_DIR: folder, NATS_URL: "" });
    expect(found).toMatchObject({ servers: "nats://127.0.0.1:4222", nkeyFile: undefined });
    expect(found.how).toContain(`no shop runs on ${folder}`);
    announceShop(folder, shop())[Symbol.dispose]();
    expect(findShop({ DATA_DIR: folder }).running).toBeUndefined();
  });

  it("says which variable, or which file, makes no sense", () => {
    expect(() => findShop({ DATA_DIR: folder, PORT_BASE: "x" })).toThrow(
      'Cannot find the shop: PORT_BASE is "x"',
    );
    writeFileSync(join(folder, "running.json"), "{");
    expect(() => findShop({ DATA_DIR: folder })).toThrow(
      /^Cannot read .*running\.json: .*; start the shop again$/,
    );
  });
});
