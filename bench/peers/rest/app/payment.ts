import { type ChargeRequest, charge, refund } from "../../sandbox.ts";
import { createService, start } from "./service.ts";

const app = createService();
app.post("/charge", async (context) => context.json(charge(await context.req.json<ChargeRequest>())));
app.post("/refund", async (context) => {
  const { chargeId } = await context.req.json<{ chargeId: string }>();
  return context.json({ refundId: refund(chargeId) });
});
start(app);
