import { renameSync, writeFileSync, writeSync } from "node:fs";
import { StartError } from "../config.ts";
import { run } from "../lifetime.ts";
import { droppedLogLines } from "../log.ts";

// A service of nothing but its lifetime, for the tests: its first argument says what becomes of it.

// Where it "floods", the second names a file for what came of it.

const [, , mode = "serves", file = ""] = process.argv;
/** More than a pipe and what may wait take together. */
const FLOOD = { lines: 20_000, bytes: 200 };

await run("fixture", async ({ stack, log, fail }) => {
  // What keeps a service alive.
  const alive = setInterval(() => undefined, 60_000);
  stack.defer(() => clearInterval(alive));
  for (const part of ["first", "second", "third"]) {
    stack.defer(async () => {
      // Not in one tick: the one before has to wait for it.
      await new Promise((resolve) => setImmediate(resolve));
      // Not the log, which is written beside: what it says at the very end may change places.
      writeSync(2, `${part}\n`);
    });
  }
  if (mode === "mistake") throw new StartError("Cannot start fixture: set FIXTURE_PORT");
  if (mode === "bug") throw new TypeError("Cannot read the fixture");
  if (mode === "fails") setImmediate(() => fail?.(new StartError("Cannot go on: the credential is refused")));
  if (mode === "unclean") {
    stack.defer(() => {
      throw new Error("Cannot close the fixture");
    });
  }
  if (mode === "hangs") {
    log.info("ready");
    await new Promise(() => undefined);
  }
  if (mode === "secrets") {
    const secret = {
      payment_token: "tok_1",
      paymentToken: "tok_2",
      authorization: "Bearer 3",
      password: "4",
    };
    log.info(secret, "in the entry");
    log.info({ order: secret }, "in an object");
    log.info({ message: { order: secret } }, "two levels down");
    log.info({ request: { body: { order: secret } } }, "three levels down");
    log.info({ orders: [secret], batch: { orders: [secret] } }, "in a list");
    log.child(secret).info("in a child");
    log.child({ order: secret }).info("in a child's object");
    log.error({ err: Object.assign(new Error("refused"), secret, { order: secret }) }, "in an error");
  }
  if (mode === "floods") {
    const text = "x".repeat(FLOOD.bytes);
    for (let line = 1; line <= FLOOD.lines; line++) {
      log.info({ line, text }, "flood");
      // As in a service, where other work comes between.
      if (line % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    writeFileSync(`${file}.new`, JSON.stringify({ lines: FLOOD.lines, dropped: droppedLogLines() }));
    renameSync(`${file}.new`, file);
    return;
  }
  if (mode === "prints") {
    console.error(new Error("printed"));
    console.log("two %s", "words");
  }
  log.info({ order_id: "ord_1" }, "ready");
});
