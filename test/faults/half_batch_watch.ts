import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

/** Where a stream's messages are, and who writes them. */
export interface Watched {
  /** Of nats-server. */
  readonly pid: number;
  /** The server's `store_dir`. */
  readonly store: string;
  readonly stream: string;
}

/** A batch of two messages is half stored for as long as one sync takes, which is less than a millisecond on a good disk. */
const LOOK_EVERY_MS = 0.05;
/** The headers of the last message are in these last bytes of the file; payloads are a few hundred. */
const TAIL_BYTES = 16 * 1024;

/**
 * Stops nats-server (SIGSTOP) at a moment when it has stored the first messages of a batch and not the one that commits it.
 * It is stopped whenever the file of the stream's messages grows, and goes on unless the last of them says that.
 *
 * @returns True once it is stopped so; false if that did not happen within `timeoutMs`, and it runs on.
 */
export async function stopInHalfBatch(
  watched: Watched,
  { timeoutMs }: { timeoutMs: number },
): Promise<boolean> {
  // A thread of its own: this one places orders meanwhile, and would look too late.
  const worker = new Worker(new URL(import.meta.url), { workerData: { ...watched, timeoutMs } });
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  worker.once("message", resolve);
  worker.once("error", reject);
  try {
    return await promise;
  } finally {
    await worker.terminate();
  }
}

function watch({ pid, store, stream, timeoutMs }: Watched & { timeoutMs: number }): boolean {
  const until = performance.now() + timeoutMs;
  const idle = new Int32Array(new SharedArrayBuffer(4));
  while (performance.now() < until) {
    using block = openLastBlock(store, stream);
    for (let size = block.size(); performance.now() < until; ) {
      Atomics.wait(idle, 0, 0, LOOK_EVERY_MS);
      if (block.size() === size) {
        if (!block.isLast()) break;
        continue;
      }
      process.kill(pid, "SIGSTOP");
      while (!isStopped(pid)) Atomics.wait(idle, 0, 0, LOOK_EVERY_MS);
      if (isHalf(block.tail())) return true;
      process.kill(pid, "SIGCONT");
      size = block.size();
    }
  }
  return false;
}

/** The folder of a stream. @param store The server's `store_dir`. */
export function streamFolder(store: string, stream: string): string {
  const [account = ""] = readdirSync(join(store, "jetstream")).filter((name) => !name.startsWith("_"));
  return join(store, "jetstream", account, "streams", stream);
}

/** nats-server writes messages to the block with the highest number, until it is full. */
function openLastBlock(store: string, stream: string) {
  const folder = join(streamFolder(store, stream), "msgs");
  const last = () =>
    Math.max(...readdirSync(folder).map((name) => Number(/^(\d+)\.blk$/.exec(name)?.[1] ?? -1)));
  const number = last();
  const file = openSync(join(folder, `${number}.blk`), "r");
  const size = () => fstatSync(file).size;
  return {
    size,
    isLast: () => last() === number,
    tail() {
      const from = Math.max(0, size() - TAIL_BYTES);
      const bytes = Buffer.alloc(size() - from);
      return bytes.toString("latin1", 0, readSync(file, bytes, 0, bytes.length, from));
    },
    [Symbol.dispose]: () => closeSync(file),
  };
}

function isStopped(pid: number): boolean {
  return /\) [tT] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
}

/** Whether the last message is one of a batch and not the one that commits it. What a schedule fired carries old headers. */
function isHalf(tail: string): boolean {
  const message = tail.slice(tail.lastIndexOf("NATS/1.0\r\n"));
  const batch = message.indexOf("Nats-Batch-Id: ");
  return (
    batch >= 0 &&
    !message.includes("Nats-Batch-Commit: ") &&
    !message.slice(batch).includes("Nats-Scheduler: ")
  );
}

if (!isMainThread) parentPort?.postMessage(watch(workerData));
