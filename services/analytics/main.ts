import { join } from "node:path";
import { connectObserver, keepProjection, run, serveHttp } from "../../lib/mod.ts";
import { routes } from "./app.ts";
import { readAnalyticsConfig } from "./config.ts";
import { openDatabase } from "./database.ts";
import { counted } from "./decide.ts";
import { Store } from "./store.ts";
import type { Tables } from "./tables.ts";

await run("analytics", async (life) => {
  const config = readAnalyticsConfig();
  const service = await connectObserver("analytics", { config, ...life });
  const { log, stack } = service;
  const folder = join(config.DATA_DIR, "analytics");
  const database = stack.use(await openDatabase<Tables>({ url: config.DATABASE_URL, folder, log }));
  log.info({ database: database.kind }, "database");
  const store = new Store(database);
  keepProjection(service, store, { config, contracts: counted, ...life });
  await serveHttp(service, { port: config.ANALYTICS_PORT, portVariable: "ANALYTICS_PORT" }, (app) =>
    routes(app, { database }),
  );
});
