import { connectObserver, run, serveHttp, setFindings } from "../../lib/mod.ts";
import { StoreMemory, topology } from "../../nats/mod.ts";
import { routes } from "./app.ts";
import { readMonitorConfig } from "./config.ts";
import { DeadLetterCount } from "./dead_letter_count.ts";
import { watchLag } from "./lag_watch.ts";
import { Reconciler } from "./reconciler.ts";
import { watch } from "./watch.ts";

await run("monitor", async (life) => {
  const config = readMonitorConfig();
  const service = await connectObserver("monitor", { config, ...life });
  const { connection, jsm, log, metrics } = service;
  const stopping = new AbortController();
  const watched = watch({
    newReconciler: () => new Reconciler({ connection, jsm, log, settleMs: config.RECONCILE_SETTLE_MS }),
    memory: new StoreMemory(
      { connection, jsm },
      topology.streams.map(({ name }) => name),
    ),
    deadLetters: new DeadLetterCount(jsm),
    registry: metrics.registry,
    log,
    everyMs: config.RECONCILE_EVERY_MS,
    signal: stopping.signal,
  });
  const lagWatched = watchLag({
    connection,
    jsm,
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
  await serveHttp(service, { port: config.MONITOR_PORT, portVariable: "MONITOR_PORT" }, (app) =>
    routes(app, { ...service, operatorToken: config.OPERATOR_TOKEN }),
  );
});
