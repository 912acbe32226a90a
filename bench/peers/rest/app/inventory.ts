import { setTimeout as sleep } from "node:timers/promises";
import { initialStock, stockedSkus } from "../../sandbox.ts";
import { createService, start } from "./service.ts";

const stock = new Map(stockedSkus.map((sku) => [sku, initialStock]));

/** For the benchmark: how long each answer takes, as when a query is slow. */
let latencyMs = 0;

const app = createService();
app.post("/reserve", async (context) => {
  const { sku } = await context.req.json<{ sku: string }>();
  if (latencyMs > 0) await sleep(latencyMs);
  const available = stock.get(sku) ?? 0;
  if (available < 1) return context.json({ reserved: false });
  stock.set(sku, available - 1);
  return context.json({ reserved: true });
});
app.post("/release", async (context) => {
  const { sku } = await context.req.json<{ sku: string }>();
  if (latencyMs > 0) await sleep(latencyMs);
  stock.set(sku, (stock.get(sku) ?? 0) + 1);
  return context.json({});
});
app.get("/stock/:sku", (context) => context.json({ available: stock.get(context.req.param("sku")) ?? 0 }));
app.post("/fault", async (context) => {
  ({ latencyMs } = await context.req.json<{ latencyMs: number }>());
  return context.json({ latencyMs });
});
start(app);
