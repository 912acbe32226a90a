import { type Contract, consumersOf, type Projection, Projector } from "../nats/mod.ts";
import type { CommonConfig } from "./config.ts";
import type { Life } from "./lifetime.ts";
import { knownSubjects, observeDelivery } from "./metrics.ts";
import { openSchemaGate, type SchemaGate } from "./schema_gate.ts";
import type { Observer } from "./service.ts";

/** A projection that is being kept. */
export interface Kept {
  readonly projector: Projector;
  readonly gate: SchemaGate;
}

/** Starts to count what the service's consumers of the topology deliver. */
export function keepProjection(
  service: Observer,
  projection: Projection,
  options: Pick<Life, "fail" | "stack"> & {
    config: CommonConfig;
    contracts: readonly Contract[];
    snapshots: readonly Contract[];
  },
): Kept {
  const { name, log, metrics, faults, connection, jsm, stack, checks } = service;
  const { contracts, snapshots } = options;
  const gate = openSchemaGate(service, options);
  const known = knownSubjects(metrics, contracts);
  const projector = stack.use(
    new Projector(connection, jsm, {
      service: name,
      consumers: consumersOf(name),
      contracts,
      snapshots,
      projection,
      log,
      opened: gate.opened,
      readable: gate.readable,
      disturb: faults && ((signal) => faults.disturb(signal)),
      onBatch: ({ counted, parked, ms }) => {
        log.debug({ messages: counted.length, parked: parked.length, ms: Math.round(ms) }, "counted");
        const observe = (subject: string, outcome: "done" | "dead") =>
          observeDelivery(metrics, { subject: known(subject), outcome, redelivered: false, ms });
        for (const subject of counted) observe(subject, "done");
        for (const subject of parked) observe(subject, "dead");
      },
    }),
  );
  checks.consumers = () => projector.ready;
  return { projector, gate };
}
