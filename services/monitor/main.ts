import { connectObserver, run, serveHttp, setFindings } from "../../lib/mod.ts";
import { OpenLetters, SchemaStore, StoreMemory, topology } from "../../nats/mod.ts";
import { routes } from "./app.ts";
import { readMonitorConfig } from "./config.ts";
import { watchLag } from "./lag_watch.ts";
import { Reconciler } from "./reconciler.ts";
import { watch } from "./watch.ts";

await run("monitor", async (life) => {
  const config = readMonitorConfig();
  const service = await connectObserver("monitor", { config, ...life });
  const { connection, jsm, log, metrics } = service;
  const stopping = new AbortController();
  const letters = new OpenLetters(jsm);
  const watched = watch({
    newReconciler: () =>
      new Reconciler({ connection, jsm, letters, log, settleMs: config.RECONCILE_SETTLE_MS }),
    memory: new StoreMemory(
      { connection, jsm },
      topology.streams.map(({ name }) => name),
    ),
    letters,
    registry: metrics.registry,
    log,
    everyMs: config.RECONCILE_EVERY_MS,
    signal: stopping.signal,
  });
  const lagWatched = watchLag({
    connection,
    jsm,
    letters,
    registry: metrics.registry,
    log,
    everyMs: config.LAG_EVERY_MS,
    replicas: config.REPLICAS,
    monitorUrl: config.NATS_MONITOR_URL,
    onFindings: (findings) => setFindings(metrics, findings),
    signal: stopping.signal,
  });
  life.stack.defer(async () => {
    stopping.abort();
    await Promise.all([watched, lagWatched]);
  });
  const schemas = life.stack.use(new SchemaStore(connection, { source: "/services/monitor", log }));
  await serveHttp(service, { port: config.MONITOR_PORT, portVariable: "MONITOR_PORT" }, (app) =>
    routes(app, { ...service, schemas, operatorToken: config.OPERATOR_TOKEN }),
  );
});
