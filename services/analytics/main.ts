import { join } from "node:path";
import { connectObserver, keepProjection, run, serveHttp } from "../../lib/mod.ts";
import { topology } from "../../nats/mod.ts";
import { routes } from "./app.ts";
import { readAnalyticsConfig } from "./config.ts";
import { openDatabase } from "./database.ts";
import { counted, snapshots } from "./decide.ts";
import { Rebuild } from "./rebuild.ts";
import { Store } from "./store.ts";
import type { Tables } from "./tables.ts";

await run("analytics", async (life) => {
  const config = readAnalyticsConfig();
  const service = await connectObserver("analytics", { config, ...life });
  const { log, stack } = service;
  const folder = join(config.DATA_DIR, "analytics");
  const database = stack.use(
    await openDatabase<Tables>({ url: config.DATABASE_URL, folder, log, fail: life.fail }),
  );
  log.info({ database: database.kind }, "database");
  // Of two instances the one that counts, and neither while the database is away.
  service.checks.database = () => database.isWriter;
  const { projector, gate } = keepProjection(service, new Store(database), {
    config,
    contracts: counted,
    snapshots,
    ...life,
  });
  const streams = topology.consumers.flatMap(({ service, stream, deadLetters }) => {
    return service === "analytics" && !deadLetters ? [stream] : [];
  });
  const { readable } = gate;
  const rebuild = stack.use(
    new Rebuild({ ...service, database, projector, streams, contracts: counted, snapshots, readable }),
  );
  void rebuild.resume();
  const { ANALYTICS_PORT: port, OPERATOR_TOKEN: operatorToken } = config;
  await serveHttp(service, { port, portVariable: "ANALYTICS_PORT" }, (app) =>
    routes(app, { database, projector, rebuild, operatorToken }),
  );
});
