import { setTimeout as sleep } from "node:timers/promises";
import type { NatsProxy, Passing } from "../support/mod.ts";

/** A moment in the life of a decision, told by what passes between the service and the server. */
export const points = {
  "before it decides": ({ from, text }: Passing) =>
    from === "server" && /^H?MSG \S+ \d+ \$JS\.ACK\./.test(text),
  "in the middle of a batch": ({ from, text }: Passing) =>
    from === "client" && inBatch(text) && !commits(text),
  "before it learns of its commit": (message: Passing) => isCommitAnswer(message),
  "before it acknowledges": ({ from, text }: Passing) => from === "client" && text.startsWith("PUB $JS.ACK."),
} as const satisfies Record<string, (message: Passing) => boolean>;

export type Point = keyof typeof points;

export function inBatch(text: string): boolean {
  return text.includes("Nats-Batch-Id:");
}

export function commits(text: string): boolean {
  return text.includes("Nats-Batch-Commit:");
}

/** The server's word that something is stored, and where. */
export function isCommitAnswer({ from, text }: Passing): boolean {
  return from === "server" && /\r\n\{"stream":"[A-Z_]+",.*"seq":\d+/.test(text);
}

/** A point that does not come up in this time is not part of what the service does. */
const REACHED_WITHIN_MS = 20_000;

/**
 * Waits until `point` is reached on this connection, strikes, and lets nothing more pass until `release()`.
 * @returns False if it is not reached in time.
 */
export async function strikeAt(
  link: NatsProxy,
  point: (message: Passing) => boolean,
  strike: () => void,
): Promise<boolean> {
  const reached = Promise.withResolvers<boolean>();
  let struck = false;
  link.judge((message) => {
    if (!struck && point(message)) {
      struck = true;
      strike();
      reached.resolve(true);
    }
    return struck ? "drop" : "pass";
  });
  const late = sleep(REACHED_WITHIN_MS, false, { ref: false });
  return Promise.race([reached.promise, late]);
}
