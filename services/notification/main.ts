import { connectService, consume, run, serveHttp } from "../../lib/mod.ts";
import { routes } from "./app.ts";
import { readNotificationConfig } from "./config.ts";
import { handlers, waiting } from "./decide.ts";
import { createMboxMailer } from "./mbox_mailer.ts";
import { createSmtpMailer } from "./smtp_mailer.ts";

await run("notification", async (life) => {
  const config = readNotificationConfig();
  const { SMTP_URL: url, MAIL_FROM: from, DATA_DIR: dataDir } = config;
  const mailer =
    url === undefined ? await createMboxMailer({ dataDir, from }) : createSmtpMailer({ url, from });
  life.stack.use(mailer);
  const service = await connectService("notification", { config, ...life });
  consume(service, handlers({ mailer }), { waiting });
  await serveHttp(service, { port: config.NOTIFICATION_PORT, portVariable: "NOTIFICATION_PORT" }, (app) =>
    routes(app, service),
  );
});
