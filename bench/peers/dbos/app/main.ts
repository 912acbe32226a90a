import { DBOS } from "@dbos-inc/dbos-sdk";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import type { CheckoutRequest } from "../../sandbox.ts";
import { registerCheckout } from "./checkout.ts";
import { openInventory } from "./inventory.ts";

const { PORT, APP_DATABASE_URL, DBOS_SYSTEM_DATABASE_URL } = process.env as Record<string, string>;

// Whoever started this process is gone.
process.once("disconnect", () => process.exit());

const checkout = registerCheckout(await openInventory(APP_DATABASE_URL as string));
DBOS.setConfig({ name: "checkout", systemDatabaseUrl: DBOS_SYSTEM_DATABASE_URL as string });
await DBOS.launch();

const app = new Hono();
app.get("/healthz", (context) => context.text("ok"));
app.post("/orders", async (context) => {
  const workflowID = context.req.header("idempotency-key");
  if (workflowID === undefined) return context.json({ error: "Idempotency-Key is missing" }, 400);
  const order = await context.req.json<CheckoutRequest>();
  const handle = await DBOS.startWorkflow(checkout, { workflowID })(order);
  return context.json(await handle.getResult());
});
serve({ fetch: app.fetch, port: Number(PORT), hostname: "127.0.0.1" });
