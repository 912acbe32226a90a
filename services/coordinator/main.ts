import { connectService, consume, run, serveHttp } from "../../lib/mod.ts";
import { routes } from "./app.ts";
import { readCoordinatorConfig } from "./config.ts";
import { handlers } from "./handlers.ts";
import { sweepRegularly } from "./sweep.ts";

await run("coordinator", async (life) => {
  const config = readCoordinatorConfig();
  const { deadlines } = config;
  const service = await connectService("coordinator", { config, ...life });
  consume(service, handlers(deadlines));
  const sweeping = new AbortController();
  const swept = sweepRegularly({
    ...service,
    deadlines,
    everyMs: config.SWEEP_EVERY_MS,
    signal: sweeping.signal,
  });
  life.stack.defer(async () => {
    sweeping.abort();
    await swept;
  });
  await serveHttp(service, { port: config.COORDINATOR_PORT, portVariable: "COORDINATOR_PORT" }, (app) =>
    routes(app, service),
  );
});
