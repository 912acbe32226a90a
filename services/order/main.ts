import { connectService, consume, run, serveHttp } from "../../lib/mod.ts";
import { routes } from "./app.ts";
import { watchCapacity } from "./capacity.ts";
import { catalogueFilled } from "./catalogue.ts";
import { readOrderConfig } from "./config.ts";
import { handlers } from "./decide.ts";
import { openOrderIds } from "./id_secret.ts";
import { countOrders } from "./metrics.ts";
import type { OrderIds } from "./order_id.ts";

await run("order", async (life) => {
  const config = readOrderConfig();
  const service = await connectService("order", { config, ...life });
  service.ledger.onStored(countOrders(service.metrics.registry));
  consume(service, handlers);
  const { ORDER_RATE_LIMIT: perSecond, ORDER_RATE_BURST: burst, TRUSTED_PROXIES: trustedProxies } = config;
  const rateLimit = perSecond === undefined ? undefined : { perSecond, burst, trustedProxies };
  const draining = new AbortController();
  const { signal } = draining;
  const { NATS_MONITOR_URL: monitorUrl, STORE_DISK: disk } = config;
  const { log, store } = service;
  const capacity = watchCapacity({ monitorUrl, disk, unwritable: () => store.unwritable, log, signal });
  // Orders are all that it stores: while it accepts none, it is not ready.
  service.checks.store = () => store.ok && !capacity.full;
  let filled = false;
  service.checks.catalogue = () => filled;
  void catalogueFilled({ ...service, sandbox: config.SANDBOX, signal }).then((result) => {
    filled = result;
  });
  let orderIds: OrderIds | undefined;
  service.checks.order_ids = () => orderIds !== undefined;
  const replace = config.ORDER_ID_SECRET === "replace";
  void openOrderIds({ ...service, signal, replace }).then(
    (result) => {
      orderIds = result;
    },
    (cause) => {
      if (!signal.aborted) life.fail?.(cause);
    },
  );
  await serveHttp(service, { port: config.ORDER_PORT, portVariable: "ORDER_PORT" }, (app) =>
    routes(app, {
      ...service,
      orderIds: () => orderIds,
      capacity,
      draining: signal,
      traceUrl: config.TRACE_URL,
      ...(rateLimit && { rateLimit }),
    }),
  );
  // Before the server drains, which waits for every response to end: event streams have no end of their own.
  service.stack.defer(() => draining.abort());
});
