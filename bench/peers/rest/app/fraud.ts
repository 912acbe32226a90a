import { type Address, isFlagged } from "../../sandbox.ts";
import { createService, start } from "./service.ts";

const app = createService();
app.post("/screen", async (context) =>
  context.json({ flagged: isFlagged(await context.req.json<Address>()) }),
);
start(app);
