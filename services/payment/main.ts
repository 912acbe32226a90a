import { connectService, consume, run, serveHttp } from "../../lib/mod.ts";
import type { Log } from "../../nats/mod.ts";
import { routes } from "./app.ts";
import { type PaymentConfig, readPaymentConfig } from "./config.ts";
import { handlers, waiting } from "./decide.ts";
import type { Provider } from "./provider.ts";
import { sandbox } from "./sandbox.ts";
import { stripe } from "./stripe.ts";

await run("payment", async (life) => {
  const config = readPaymentConfig();
  const service = await connectService("payment", { config, ...life });
  const provider = chooseProvider(config, service.log);
  service.log.info({ provider: provider.name }, "payment provider");
  consume(service, handlers({ provider }), { waiting });
  await serveHttp(service, { port: config.PAYMENT_PORT, portVariable: "PAYMENT_PORT" }, (app) =>
    routes(app, { ...service, operatorToken: config.OPERATOR_TOKEN }),
  );
});

function chooseProvider(config: PaymentConfig, log: Log): Provider {
  const { STRIPE_SECRET_KEY: secretKey, STRIPE_API_BASE: apiBase, SANDBOX_SLOW_MS: slowMs } = config;
  return secretKey === undefined ? sandbox({ slowMs }) : stripe({ secretKey, apiBase, log });
}
