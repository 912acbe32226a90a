import { sendMail } from "../../sandbox.ts";
import { createService, start } from "./service.ts";

const app = createService();
app.post("/mail", async (context) => {
  const { messageId, text } = await context.req.json<{ messageId: string; text: string }>();
  sendMail(messageId, text);
  return context.json({});
});
start(app);
