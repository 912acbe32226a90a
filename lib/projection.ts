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
  options: Pick<Life, "fail" | "stack"> & { config: CommonConfig; contracts: readonly Contract[] },
): Kept {
  const { name, log, metrics, faults, connection, jsm, stack, checks } = service;
  const { contracts } = options;
  const gate = openSchemaGate(service, options);
  const known = knownSubjects(metrics, contracts);
  const projector = stack.use(
    new Projector(connection, jsm, {
      service: name,
      consumers: consumersOf(name),
      contracts,
      projection,
      log,
      opened: gate.opened,
      readable: gate.readable,
      disturb: faults && ((signal) => faults.disturb(signal)),
      onBatch: ({ messages, parked, ms }) => {
        log.debug({ messages: messages.length, parked, ms: Math.round(ms) }, "counted");
        for (const { contract, redriven } of messages) {
          observeDelivery(metrics, {
            subject: known(contract.subject),
            outcome: "done",
            redelivered: redriven,
            ms,
          });
        }
      },
    }),
  );
  checks.consumers = () => projector.ready;
  return { projector, gate };
}
