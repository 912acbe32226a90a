import { type ChargeRequest, charge, refund } from "../../sandbox.ts";
import { createService, start } from "./service.ts";

/** What an accountant would compare with the orders. */
const totals = { captured: 0, refunded: 0 };

const app = createService();
app.post("/charge", async (context) => {
  const result = charge(await context.req.json<ChargeRequest>());
  if (result.kind === "captured") totals.captured += 1;
  return context.json(result);
});
app.post("/refund", async (context) => {
  const { chargeId } = await context.req.json<{ chargeId: string }>();
  totals.refunded += 1;
  return context.json({ refundId: refund(chargeId) });
});
app.get("/totals", (context) => context.json(totals));
start(app);
