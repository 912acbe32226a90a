import { getJson } from "./get_json.ts";

/** What nats-server says of itself with `details=true`; without it, it names one stream and no more. */
interface Health {
  errors?: readonly { type?: string; stream?: string; error?: string }[];
}

/** Ready, and not. Both have a body. */
const STATUSES = [200, 503];
/** The server has types of errors and no codes: a stream that cannot be read has the same type as one that cannot be written. */
const WRITE_ERROR = "write error";

/**
 * Streams that a server does not write any more. A write that fails for want of room is remembered for as long as the server
 * runs: from then on it answers nobody who writes to that stream, whether there is room by now or not. It writes again once it
 * has been started again (seen with nats-server 2.15.1). A batch that found no room for its scratch files was refused, and is
 * no such write.
 *
 * @param monitorUrl Base URL of the server's monitoring.
 * @throws {Error} If there is no answer within `timeoutMs`, or it is no JSON.
 */
export async function readWriteErrors(
  monitorUrl: string,
  { timeoutMs }: { timeoutMs: number },
): Promise<string[]> {
  const url = `${monitorUrl.replace(/\/$/, "")}/healthz?details=true`;
  const { errors = [] } = (await getJson(url, { timeoutMs, statuses: STATUSES })) as Health;
  const named = errors.flatMap(({ type, stream, error }) =>
    type === "STREAM" && stream !== undefined && error?.includes(WRITE_ERROR) ? [stream] : [],
  );
  return [...new Set(named)].sort();
}
