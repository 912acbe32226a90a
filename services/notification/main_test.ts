import { spawn } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { applyTopology, commit, encode, orderCreated, subjectOf } from "../../nats/mod.ts";
import { namedHeaders, readMailboxes, startNats, until } from "../../test/support/mod.ts";
import { nodeArguments, services } from "../mod.ts";
import { anOrder, startSmtp } from "./test_support.ts";

const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** Starts the service as the shop does, lets it hear of an order, waits for `arrived`, and stops it. */
async function runFor(environment: Record<string, string>, arrived: (dataDir: string) => Promise<boolean>) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), "mail-test-")));
  stack.defer(() => rm(dataDir, { recursive: true }));
  await mkdir(join(dataDir, "mail"));
  const service = services.find(({ name }) => name === "notification");
  if (service === undefined) throw new Error("there is no notification");
  const child = spawn(process.execPath, nodeArguments(service, { root, dataDir }), {
    stdio: "ignore",
    env: {
      NATS_URL: nats.url,
      OPERATOR_TOKEN: "x",
      DATA_DIR: dataDir,
      NOTIFICATION_PORT: "0",
      ...environment,
    },
  });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  stack.defer(() => void child.kill("SIGKILL"));

  const client = await nats.connect();
  const data = encode(orderCreated, create(orderCreated.schema, { order: anOrder() }));
  const headers = await namedHeaders(client, orderCreated);
  const entry = { subject: subjectOf(orderCreated, "o1"), data, headers };
  expect(await commit(client.connection, "ORDER", [entry])).toMatchObject({ kind: "committed" });
  await until("the mail", () => arrived(dataDir));
  child.kill("SIGTERM");
  expect(await exited).toBe(0);
}

describe("notification, with no more permissions than it is started with", () => {
  it("writes mails to mailboxes, and stops with 0", async () => {
    await runFor({}, async (dataDir) => {
      const mails = await readMailboxes(join(dataDir, "mail"));
      return mails.some(({ messageId }) => messageId === "<o1.order_received@jetstream-checkout>");
    });
  });

  it("hands mails to a server, and stops with 0", async () => {
    await using smtp = await startSmtp();
    await runFor(
      { SMTP_URL: smtp.url.replace("127.0.0.1", "localhost") },
      async () => smtp.mails.length === 1,
    );
  });
});
