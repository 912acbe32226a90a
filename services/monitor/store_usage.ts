import { z } from "zod";
import { monitorUrlsOf } from "../../nats/mod.ts";

/** What the streams of one server take of what they may take together. */
export interface StoreUsage {
  /** Host and port of its monitoring. */
  readonly server: string;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

const TIMEOUT_MS = 3_000;

const Jsz = z.object({ storage: z.number(), config: z.object({ max_storage: z.number() }) });

/**
 * Asks each server's monitoring. One that does not answer is left out.
 * @param monitorUrl Comma-separated base URLs. Default: none, and nothing is known.
 */
export async function readStoreUsage(monitorUrl: string | undefined): Promise<StoreUsage[]> {
  const usage = await Promise.all(monitorUrlsOf(monitorUrl).map(usageOf));
  return usage.filter((one) => one !== undefined);
}

async function usageOf(url: string): Promise<StoreUsage | undefined> {
  try {
    const answer = await fetch(`${url}/jsz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const { storage, config } = Jsz.parse(await answer.json());
    return { server: new URL(url).host, usedBytes: storage, limitBytes: config.max_storage };
  } catch {
    // That a server is away, others say: its consumers do not answer, its findings are unseen.
    return undefined;
  }
}
