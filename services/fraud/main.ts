import { connectService, consume, run, serveHttp } from "../../lib/mod.ts";
import { routes } from "./app.ts";
import { readFraudConfig } from "./config.ts";
import { handlers } from "./decide.ts";
import { suspectsAt } from "./suspects.ts";

await run("fraud", async (life) => {
  const config = readFraudConfig();
  const service = await connectService("fraud", { config, ...life });
  const { faults } = service;
  const suspects = faults && suspectsAt(() => faults.value("flag_rate"));
  consume(service, handlers({ reviewTtlMs: config.REVIEW_TTL_MS, suspects }));
  await serveHttp(service, { port: config.FRAUD_PORT, portVariable: "FRAUD_PORT" }, (app) =>
    routes(app, { ...service, operatorToken: config.OPERATOR_TOKEN }),
  );
});
