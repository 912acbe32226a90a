import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { CommitOutcome, Contract, Finding } from "../nats/mod.ts";
import { droppedLogLines } from "./log.ts";

/**
 * Prometheus metrics of one service. Every label has few values, all known beforehand: subjects are without their ids. What
 * counts faults is there, as 0, from the start on, or an alert would miss the first one.
 */
export interface Metrics {
  readonly registry: Registry;
  readonly httpSeconds: Histogram<"method" | "route" | "status">;
  readonly deliverySeconds: Histogram<"subject" | "outcome">;
  readonly redeliveries: Counter<"subject">;
  /** `outcome`: the handler asks for it (`retry`), or it failed (`error`). */
  readonly retries: Counter<"subject" | "outcome">;
  readonly parked: Counter<"subject">;
  readonly unreadable: Counter<"subject">;
  readonly commitSeconds: Histogram<"outcome">;
  readonly commitMessages: Histogram<never>;
  readonly commitDecisions: Histogram<never>;
  readonly conflicts: Counter<never>;
  readonly findings: Gauge<"kind">;
}

const outcomes = [
  "committed",
  "conflict",
  "busy",
  "storage",
  "rejected",
  "unknown",
] as const satisfies readonly CommitOutcome["kind"][];

/** Whatever a consumer is delivered that the service has no handler for; it is parked. */
const OTHER = "other";

/** A commit takes a disk two or three milliseconds, and seconds when it is in trouble. */
const COMMIT_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** A batch has 1,000 messages at most. */
const BATCH_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  new Counter({
    name: "shop_log_lines_dropped_total",
    help: "Lines of the log that could not be written: who reads it does not, or the disk is full",
    registers,
    collect() {
      this.reset();
      this.inc(droppedLogLines());
    },
  });
  const metrics: Metrics = {
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
    retries: new Counter({
      name: "shop_retries_total",
      help: "Messages that come again later: their handler asked for it (retry), stored that they wait for somebody outside the shop (wait), or failed (error)",
      labelNames: ["subject", "outcome"],
      registers,
    }),
    parked: new Counter({
      name: "shop_dead_letters_parked_total",
      help: "Messages that were parked as dead letters",
      labelNames: ["subject"],
      registers,
    }),
    unreadable: new Counter({
      name: "shop_schema_refusals_total",
      help: "Messages whose schema this build must not read",
      labelNames: ["subject"],
      registers,
    }),
    commitSeconds: new Histogram({
      name: "shop_commit_duration_seconds",
      help: "Time of a commit to the ledger, by outcome",
      labelNames: ["outcome"],
      buckets: COMMIT_BUCKETS_S,
      registers,
    }),
    commitMessages: new Histogram({
      name: "shop_commit_messages",
      help: "Messages in a commit to the ledger",
      buckets: BATCH_BUCKETS,
      registers,
    }),
    commitDecisions: new Histogram({
      name: "shop_commit_decisions",
      help: "Decisions that share a commit to the ledger",
      buckets: BATCH_BUCKETS,
      registers,
    }),
    conflicts: new Counter({
      name: "shop_commit_conflicts_total",
      help: "Commits that were refused since somebody else had written a key; they are decided again",
      registers,
    }),
    findings: new Gauge({
      name: "shop_server_findings",
      help: "What the servers have missing or weaker than the topology asks, or do not show, at the last check",
      labelNames: ["kind"],
      registers,
    }),
  };
  for (const outcome of outcomes) metrics.commitSeconds.zero({ outcome });
  setFindings(metrics, []);
  return metrics;
}

export function observeCommit(
  metrics: Metrics,
  attempt: { outcome: CommitOutcome["kind"]; messages: number; decisions: number; ms: number },
): void {
  const { outcome, messages, decisions, ms } = attempt;
  metrics.commitSeconds.observe({ outcome }, ms / 1000);
  metrics.commitMessages.observe(messages);
  metrics.commitDecisions.observe(decisions);
  if (outcome === "conflict") metrics.conflicts.inc();
}

/** Outcomes of a delivery after which its message comes again. */
const RETRIED: readonly string[] = ["retry", "wait", "error"];

/**
 * Sets what counts deliveries to 0 for what the service takes.
 * @returns The subject to count a message under: its own if it is one of these, and one for all others.
 */
export function knownSubjects(
  { deliverySeconds, redeliveries, retries, parked, unreadable }: Metrics,
  contracts: readonly Contract[],
): (subject: string) => string {
  const subjects = new Set(contracts.map((contract) => contract.subject));
  for (const subject of [...subjects, OTHER]) {
    deliverySeconds.zero({ subject, outcome: "done" });
    redeliveries.inc({ subject }, 0);
    for (const outcome of RETRIED) retries.inc({ subject, outcome }, 0);
    parked.inc({ subject }, 0);
    unreadable.inc({ subject }, 0);
  }
  return (subject) => (subjects.has(subject) ? subject : OTHER);
}

export function observeDelivery(
  metrics: Metrics,
  delivery: { subject: string; outcome: string; redelivered: boolean; ms: number },
): void {
  const { subject, outcome, redelivered, ms } = delivery;
  metrics.deliverySeconds.observe({ subject, outcome }, ms / 1000);
  if (redelivered) metrics.redeliveries.inc({ subject });
  if (RETRIED.includes(outcome)) metrics.retries.inc({ subject, outcome });
  if (outcome === "dead") metrics.parked.inc({ subject });
}

export function setFindings({ findings: gauge }: Metrics, findings: readonly Finding[]): void {
  for (const kind of ["missing", "weaker", "unseen"] as const) {
    gauge.set({ kind }, findings.filter((finding) => finding.kind === kind).length);
  }
}
