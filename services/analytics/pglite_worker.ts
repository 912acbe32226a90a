import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";
import type { Answer, Question } from "./pglite.ts";
import { DATE, INT8 } from "./type_ids.ts";

// The thread of PGliteThread: PostgreSQL, and nothing beside it.

const port = parentPort;
if (port === null) throw new Error("This file is a thread's: see pglite.ts");
const { dataDir } = workerData as { dataDir: string };
if (!existsSync(dataDir)) await make(dataDir);
const pglite = await PGlite.create({ dataDir, parsers: { [INT8]: Number, [DATE]: String } });
const say = (answer: Answer) => port.postMessage(answer);
say("opened");
port.on("message", (question: Question) => void answer(question));

/** It takes seconds, in which the process may be killed: what bears the final name is whole. */
async function make(folder: string): Promise<void> {
  const making = `${folder}.new`;
  await rm(making, { recursive: true, force: true });
  await (await PGlite.create({ dataDir: making })).close();
  await rename(making, folder);
}

async function answer(question: Question): Promise<void> {
  if (question === "close") {
    await pglite.close();
    process.exit();
  }
  const { id, sql, parameters } = question;
  try {
    const { rows, affectedRows = 0 } = await pglite.query(sql, [...parameters]);
    say({ id, rows, affectedRows });
  } catch (cause) {
    // Of WebAssembly, whose memory may be anything from here on. The thread ends, and with it the process.
    if (cause instanceof Error && cause.name === "RuntimeError") throw cause;
    const { message, code } = cause as Error & { code?: string };
    say({ id, error: message, code });
  }
}
