import { backoffMs, filtersOf, findTornBatch, pause, publishedBy, tornText } from "../nats/mod.ts";
import { StartError } from "./config.ts";
import type { Life } from "./lifetime.ts";
import type { Observer } from "./service.ts";

/** Between two looks at a ledger whose server does not answer, or that waits for a person. */
const PAUSE = { firstMs: 500, maxMs: 5_000 };

/**
 * Looks whether the service's ledger ends in half a commit, before anything is written after it. As long as it does, the
 * service is not ready and the log says what to do. Ends the service if that is so after the server was away: it is not
 * ready then when it starts again.
 *
 * @returns Resolves once the ledger is whole, and never if the service stops before.
 */
export async function wholeLedger(
  service: Observer,
  { stream, stack, fail }: Pick<Life, "stack" | "fail"> & { stream: string },
): Promise<void> {
  const { connection, log, checks } = service;
  const ledger = { stream, filters: filtersOf(publishedBy(service.name)) };
  const stopping = new AbortController();
  stack.defer(() => stopping.abort());
  const { signal } = stopping;
  /** Resolves with what is wrong with it, once the server has answered; undefined if nothing is. */
  const look = async (): Promise<string | undefined> => {
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        const torn = await findTornBatch(connection, ledger);
        return torn && `${tornText(torn)}; run: npm run ops -- ledgers repair ${stream}`;
      } catch (cause) {
        if (signal.aborted) break;
        log.warn({ err: cause, stream }, "cannot look whether the ledger is whole, trying again");
        await pause(backoffMs(attempt, PAUSE), signal);
      }
    }
    return undefined;
  };

  let whole = false;
  checks.ledger = () => whole;
  for (let attempt = 1; !signal.aborted; attempt++) {
    const wrong = await look();
    if (wrong === undefined) break;
    log.error({ stream }, `nothing is handled: ${wrong}`);
    await pause(backoffMs(attempt, PAUSE), signal);
  }
  if (signal.aborted) return new Promise(() => undefined);
  whole = true;
  void (async () => {
    for await (const { type } of connection.status()) {
      if (type !== "reconnect") continue;
      const wrong = await look();
      if (wrong !== undefined && !signal.aborted) fail?.(new StartError(`Cannot go on: ${wrong}`));
    }
  })();
}
