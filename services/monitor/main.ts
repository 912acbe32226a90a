import { connectObserver, run, serveHttp } from "../../lib/mod.ts";
import { routes } from "./app.ts";
import { readMonitorConfig } from "./config.ts";

await run("monitor", async (life) => {
  const config = readMonitorConfig();
  const service = await connectObserver("monitor", { config, ...life });
  await serveHttp(service, { port: config.MONITOR_PORT, portVariable: "MONITOR_PORT" }, (app) =>
    routes(app, { ...service, operatorToken: config.OPERATOR_TOKEN }),
  );
});
