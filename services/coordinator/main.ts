import { connectService, consume, run, serveHttp } from "../../lib/mod.ts";
import { consumersOf } from "../../nats/mod.ts";
import { routes } from "./app.ts";
import { afterCatchUp, catchUp } from "./catch_up.ts";
import { readCoordinatorConfig } from "./config.ts";
import { eventHandlers, timer } from "./handlers.ts";
import { createOrderMetrics, createUntimedMetric } from "./metrics.ts";
import { sweepRegularly } from "./sweep.ts";

await run("coordinator", async (life) => {
  const config = readCoordinatorConfig();
  const { deadlines } = config;
  const service = await connectService("coordinator", { config, ...life });
  service.ledger.onStored(createOrderMetrics(service.metrics.registry));
  const answers = consumersOf("coordinator").filter(({ stream }) => stream !== service.ledger.stream);
  const caughtUp = catchUp(service.jsm, answers);
  consume(service, [...eventHandlers(deadlines), afterCatchUp(timer(deadlines), caughtUp)]);
  const sweeping = new AbortController();
  const swept = sweepRegularly({
    ...service,
    deadlines,
    caughtUp,
    everyMs: config.SWEEP_EVERY_MS,
    onUntimed: createUntimedMetric(service.metrics.registry),
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
