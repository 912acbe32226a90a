type Environment = Readonly<Record<string, string | undefined>>;

/** Where the order service listens unless a variable says otherwise. */
const STANDARD_BASE = 8080;

export const NATS_PORT = { variable: "NATS_PORT", standard: 4222 } as const;

/**
 * The port that `variable` says. Where that is unset, `PORT_BASE`, the port of the order service, moves it by as much as it
 * moves that one: each keeps its distance from 8080. Where neither is set, `standard`. An empty variable counts as unset.
 *
 * @throws {RangeError} Naming the variable that makes no sense, without a beginning: `PORT_BASE is "x", not …`.
 */
export function readPort(
  environment: Environment,
  { variable, standard }: { variable: string; standard: number },
): number {
  const text = environment[variable];
  if (text) {
    if (isPort(parse(text))) return parse(text);
    throw new RangeError(`${variable} is "${text}", not a port (1 to 65535)`);
  }
  const base = environment.PORT_BASE;
  if (!base) return standard;
  const port = standard + parse(base) - STANDARD_BASE;
  if (isPort(parse(base)) && isPort(port)) return port;
  throw new RangeError(
    `PORT_BASE is "${base}", not the port of the order service, from which each other has its distance; ${variable} ` +
      `would be ${Number.isNaN(port) ? "none" : port} (18080, for example, makes NATS_PORT 14222)`,
  );
}

function parse(text: string): number {
  return /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}
