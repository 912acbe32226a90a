import { readFile } from "node:fs/promises";
import { jetstream } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findDeadLetter } from "../nats/mod.ts";
import { shell } from "../ops/testing.ts";
import { services } from "../services/mod.ts";
import { openShop, openStreams, type Streams, type TestShop, until } from "./support/mod.ts";

let shop: TestShop;
let streams: Streams;
let page: string;
beforeAll(async () => {
  shop = await openShop({ FAULTS: "on", CHARGING_DEADLINE_MS: "3000", SANDBOX_SLOW_MS: "5000" });
  streams = await openStreams(shop.shop.operator);
  page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
});
afterAll(async () => {
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
});

/** The commands of a section, as they stand, but for the ports and for how long orders come. */
function commandsOf(heading: string): string[] {
  const [, section = ""] = new RegExp(`^${heading}\n([\\s\\S]*?)^##+ `, "m").exec(page) ?? [];
  return [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) =>
    services
      .reduce((text, { name, port }) => {
        return text.replaceAll(
          `http://127.0.0.1:${port}/`,
          `${name === "analytics" ? "" : shop.shop.url(name)}/`,
        );
      }, block)
      .replaceAll(/npm run (--silent )?ops --/g, "$OPS")
      .replaceAll(/--for \d+[sm]/g, "--for 3s"),
  );
}

/** All blocks in one shell, which ends at the first command that fails. */
async function run(blocks: readonly string[]) {
  // All else is found there.
  const environment = { DATA_DIR: shop.folder };
  const ran = await shell(`set -e\n${blocks.join("\n")}`, { environment });
  expect(ran.code, `${ran.out}\n${ran.err}`).toBe(0);
  return ran;
}

describe("docs/operations.md, word for word but for the ports and how long orders come", () => {
  it("Break it, and watch", async () => {
    const { out, err } = await run(commandsOf("### Break it, and watch"));
    expect(out).toMatch(/^slow provider +1 +timed_out 1 /m);
    expect(out).toMatch(/^ord_\S+ +in_review /m);
    // Services look once a second for what is set: the first orders may get through.
    expect(err).toMatch(/^15 orders in \d+ s, \d+ ended, \d+ under way$/m);
    expect(out).toMatch(/ reserving \d+ +ord_/);
    expect(out).toMatch(/^inventory +CHECKOUT +\d+ /m);
    await streams.quiet();
  }, 120_000);

  it("One order's story", async () => {
    const { out } = await run(commandsOf("## One order's story"));
    expect(out).toMatch(/^order ord_/m);
    expect(out).toContain('"entries"');
  }, 60_000);

  it("Dead letters", async () => {
    // As somebody's script does that knows no schemas.
    const { seq } = await jetstream(streams.connection).publish(
      "checkout.reserve_stock.ord_poison",
      "no command",
    );
    const letter = `inventory.inventory.CHECKOUT.${seq}`;
    const status = async () => (await findDeadLetter(streams.jsm, letter))?.status;
    await until("it to be parked", async () => (await status()) === "parked");
    // It would fail, and be left alone, which is what these say.
    const blocks = commandsOf("## Dead letters").map((block) =>
      block.replaceAll(/^(.* redrive .*)$/gm, "! $1"),
    );
    const { out } = await run(blocks);
    expect(out).toMatch(new RegExp(`^would_fail +${letter}: `, "m"));
    expect(await status()).toBe("discarded");
  }, 60_000);
});
