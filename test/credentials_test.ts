import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { seedFile, servicesOf, topology } from "../nats/mod.ts";
import { flaggedAddress, openShop, operator, until } from "./support/mod.ts";

it("the shop does all its work with what the topology lets each service do, and no secret gets into a log", async () => {
  await using shop = await openShop();
  const completed = shop.ends(await shop.place());
  const cancelled = shop.ends(await shop.place({ payment_token: "tok_declined" }));
  const flagged = await shop.place({ shipping_address: flaggedAddress });
  expect((await completed).state).toBe("completed");
  expect((await cancelled).state).toBe("cancelled");
  await shop.reaches(flagged, "in_review");
  const decision = { decision: "approve", reviewer: "ada", note: "" };
  const path = `/reviews/${flagged}/decision`;
  await until("the review to be decided", async () => {
    const { status } = await shop.call("fraud", path, { method: "POST", body: decision, headers: operator });
    return status === 200;
  });
  expect((await shop.ends(flagged)).state).toBe("completed");
  expect((await shop.call("order", "/orders?limit=5")).status).toBe(200);
  const events = await fetch(`${shop.shop.url("order")}/orders/${flagged}/events`);
  expect(await events.text()).toContain("completed");

  const folder = join(shop.folder, "credentials");
  const seeds = await Promise.all(
    ["operator", ...servicesOf(topology)].map((name) => readFile(seedFile(folder, name), "utf8")),
  );
  const logs = (await readdir(shop.folder)).filter((name) => name.endsWith(".log"));
  const text = (await Promise.all(logs.map((name) => readFile(join(shop.folder, name), "utf8")))).join("\n");
  expect(logs).toContain("shop.log");
  expect(text).not.toMatch(/permissions violation/i);
  expect(text).not.toContain("weaker than the topology asks");
  for (const secret of [...seeds, "tok_visa", "tok_declined"]) expect(text).not.toContain(secret);
});
