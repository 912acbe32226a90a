import { z } from "zod";

/** Bucket in which faults are set, and the stream behind it. Only the operator writes it. */
export const FAULTS = "FAULTS";
export const FAULTS_STREAM = `KV_${FAULTS}`;

/** What may be made to go wrong in a service, for demonstrations, by the last part of its name. */
export const faultKinds = {
  down: {
    what: "handles no message and answers no request but for its health and metrics",
    example: "on",
    value: z.stringbool().transform(Number),
  },
  latency: {
    what: "handles each message and answers each request so much later: 250ms, 5s; a minute at most",
    example: "5s",
    value: z
      .string()
      .regex(/^\d{1,5}(\.\d{1,3})?(ms|s)$/, "a time such as 250ms or 5s")
      .transform((text) => Number.parseFloat(text) * (text.endsWith("ms") ? 1 : 1_000))
      .pipe(z.number().max(60_000, "a minute at most")),
  },
  error_rate: {
    what: "fails to handle this share of deliveries, which come again: 0 to 1",
    example: "0.3",
    value: z.coerce.number().min(0).max(1),
  },
  flag_rate: {
    what: "finds this share of orders worth a person's look: 0 to 1",
    example: "0.3",
    value: z.coerce.number().min(0).max(1),
    only: "fraud",
  },
} as const satisfies Record<
  string,
  { what: string; example: string; value: z.ZodType<number, unknown>; only?: string }
>;
export type FaultKind = keyof typeof faultKinds;

/** The faults that a service of this name may have. */
export function faultsOf(service: string): FaultKind[] {
  return Object.entries(faultKinds).flatMap(([kind, spec]) => {
    return "only" in spec && spec.only !== service ? [] : [kind as FaultKind];
  });
}

/** The metric by which a service says what it heeds: {@linkcode Fault.value} of each kind, 0 of what is not set. */
export const FAULT_METRIC = "shop_fault";

/** One fault as a number: 1 for what is on, milliseconds, or a share. */
export interface Fault {
  readonly service: string;
  readonly kind: FaultKind;
  readonly value: number;
}

/**
 * Reads `payment.latency` and `5s`.
 * @param services Those that there are.
 * @throws {RangeError} Saying what is wrong with the name or the value.
 */
export function readFault(name: string, text: string, services: readonly string[]): Fault {
  const [service = "", kind = ""] = name.split(".", 2);
  const known = Object.hasOwn(faultKinds, kind) ? faultKinds[kind as FaultKind] : undefined;
  if (!services.includes(service) || known === undefined || name.split(".").length > 2) {
    throw new RangeError(`Cannot set ${JSON.stringify(name)}: there is no such fault`);
  }
  if ("only" in known && known.only !== service) {
    throw new RangeError(`Cannot set ${name}: it is a fault of ${known.only}`);
  }
  if (text === "")
    throw new RangeError(`Cannot set ${name}: it takes a value, such as ${name}=${known.example}`);
  const read = known.value.safeParse(text);
  if (read.success) return { service, kind: kind as FaultKind, value: read.data };
  const why = read.error.issues.map(({ message }) => message).join("; ");
  throw new RangeError(`Cannot set ${name} to ${JSON.stringify(text)}: ${why}`);
}
