import { Counter, collectDefaultMetrics, Histogram, Registry } from "prom-client";

/** Prometheus metrics of one service. */
export interface Metrics {
  readonly registry: Registry;
  readonly httpSeconds: Histogram<"method" | "route" | "status">;
  readonly deliverySeconds: Histogram<"subject" | "outcome">;
  readonly redeliveries: Counter<"subject">;
  readonly commitSeconds: Histogram<"outcome">;
  readonly commitMessages: Histogram<never>;
}

export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    httpSeconds: new Histogram({
      name: "shop_http_request_duration_seconds",
      help: "Time to answer an HTTP request",
      labelNames: ["method", "route", "status"],
      registers,
    }),
    deliverySeconds: new Histogram({
      name: "shop_delivery_duration_seconds",
      help: "Time from the delivery of a message to its acknowledgement, by outcome",
      labelNames: ["subject", "outcome"],
      registers,
    }),
    redeliveries: new Counter({
      name: "shop_redeliveries_total",
      help: "Messages that were delivered again",
      labelNames: ["subject"],
      registers,
    }),
    commitSeconds: new Histogram({
      name: "shop_commit_duration_seconds",
      help: "Time of a commit to the ledger, by outcome",
      labelNames: ["outcome"],
      registers,
    }),
    commitMessages: new Histogram({
      name: "shop_commit_messages",
      help: "Messages in a commit to the ledger",
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
      registers,
    }),
  };
}
