import { connectService, consume, run, serveHttp } from "../../lib/mod.ts";
import { routes } from "./app.ts";
import { readFulfillmentConfig } from "./config.ts";
import { handlers } from "./decide.ts";
import { unpackable } from "./sandbox.ts";

await run("fulfillment", async (life) => {
  const config = readFulfillmentConfig();
  const service = await connectService("fulfillment", { config, ...life });
  consume(service, handlers({ unpackable: config.SANDBOX ? unpackable : {} }));
  await serveHttp(service, { port: config.FULFILLMENT_PORT, portVariable: "FULFILLMENT_PORT" }, (app) =>
    routes(app, service),
  );
});
