import { setInterval } from "node:timers/promises";
import { readWriteErrors } from "../nats/mod.ts";
import type { Child } from "./child.ts";
import { lackOfRoom } from "./room.ts";

const LOOK_EVERY_MS = 2_000;
const TIMEOUT_MS = 1_000;
/** So that it is not started on the last of the room, and stopped by it again at once. */
const BESIDES_MIB = 16;

export interface StoreWatchOptions {
  readonly natsServer: Pick<Child, "kill" | "ready">;
  /** Base URL of its monitoring. */
  readonly monitorUrl: string;
  /** Folder of its store. */
  readonly store: string;
  readonly report: (line: string) => void;
  /** Default 2,000. */
  readonly everyMs?: number;
}

/**
 * Restarts nats-server once there is room if it does not write a stream any more, which it would not do again by itself: a
 * disk that was full for a moment would stop the shop until a person comes. Says so, and when it runs again. Goes on looking
 * until it is disposed of.
 *
 * It is killed, not asked to end: what a kill leaves behind is what all else is made for, and nothing is written by a server that
 * has failed to write.
 */
export function watchStore(options: StoreWatchOptions): Disposable {
  const { natsServer, monitorUrl, store, report, everyMs = LOOK_EVERY_MS } = options;
  const watching = new AbortController();
  const { signal } = watching;
  let told: string | undefined;
  const say = (line: string) => {
    if (line !== told && !signal.aborted) report(line);
    told = line;
  };
  const look = async () => {
    const streams = await named(monitorUrl);
    if (streams.length === 0 || signal.aborted) return;
    const failed = `nats-server does not write ${streams.join(", ")} any more`;
    const lacking = lackOfRoom(store, { besidesMiB: BESIDES_MIB });
    if (lacking !== undefined) {
      // How much there is changes all the time; that it is too little is said once.
      if (told?.startsWith(failed) !== true) say(`${failed}; it is restarted once there is room: ${lacking}`);
      return;
    }
    say(`${failed}, and there is room: restarting it`);
    await natsServer.kill("SIGKILL");
    await natsServer.ready();
    say("nats-server writes again");
  };
  void (async () => {
    try {
      for await (const _ of setInterval(everyMs, undefined, { signal })) {
        // It has its own ways to say that it does not start.
        await look().catch((cause: Error) => say(`cannot restart nats-server: ${cause.message}`));
      }
    } catch (cause) {
      if (!signal.aborted) throw cause;
    }
  })();
  return { [Symbol.dispose]: () => watching.abort() };
}

async function named(monitorUrl: string): Promise<readonly string[]> {
  try {
    return await readWriteErrors(monitorUrl, { timeoutMs: TIMEOUT_MS });
  } catch {
    // It is down or starts, which is the business of who keeps it running.
    return [];
  }
}
