import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { connectService, consume, createApp, createLog, type Service } from "../../lib/mod.ts";
import {
  applyTopology,
  type Contract,
  checkoutCancelled,
  checkoutCompleted,
  commit,
  DEAD_LETTER_STREAM,
  encode,
  orderCreated,
  type Patience,
  subjectOf,
} from "../../nats/mod.ts";
import { checked, freePorts, namedHeaders, readMailboxes, startNats, until } from "../../test/support/mod.ts";
import type { Mails } from "./api.ts";
import { routes } from "./app.ts";
import { readNotificationConfig } from "./config.ts";
import { handlers, waiting } from "./decide.ts";
import type { Mailer } from "./mailer.ts";
import { createMboxMailer } from "./mbox_mailer.ts";
import { createSmtpMailer } from "./smtp_mailer.ts";
import { anOrder, parseMail, startSmtp } from "./test_support.ts";

const from = "Shop <orders@shop.example>";

/** Notification on a nats-server of its own. */
async function startNotification(stack: AsyncDisposableStack, mailer: Mailer, patience?: Patience) {
  stack.use(mailer);
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  const config = readNotificationConfig({ NATS_URL: nats.url, OPERATOR_TOKEN: "x", LOG_LEVEL: "silent" });
  const service = await connectService("notification", { config, log: createLog("notification"), stack });
  consume(service, handlers({ mailer, ...(patience && { patience }) }), { waiting });
  return { service, app: checked(routes(createApp(service), service)) };
}

/** Stores an event as its owner would. */
async function publish<S extends DescMessage>(
  service: Service,
  contract: Contract<S>,
  orderId: string,
  init: MessageInitShape<S>,
): Promise<void> {
  const stream = contract.subject.startsWith("order.") ? "ORDER" : "CHECKOUT";
  const data = encode(contract, create(contract.schema, init));
  const headers = await namedHeaders(service, contract);
  const entry = { subject: subjectOf(contract, orderId), data, headers };
  expect(await commit(service.connection, stream, [entry])).toMatchObject({ kind: "committed" });
}

/** Waits until every event that was stored has been handled. */
async function settled({ jsm }: Service): Promise<void> {
  for (const stream of ["ORDER", "CHECKOUT"]) {
    const { last_seq } = (await jsm.streams.info(stream)).state;
    await until(`the events of ${stream} to be handled`, async () => {
      return (await jsm.consumers.info(stream, "notification")).ack_floor.stream_seq === last_seq;
    });
  }
}

/** How many messages a stream holds, by subject. */
async function stored({ jsm }: Service, stream: string): Promise<Record<string, number>> {
  return (await jsm.streams.info(stream, { subjects_filter: ">" })).state.subjects ?? {};
}

describe("notification with mailboxes", () => {
  it("sends each mail of an order once though every event comes twice", async () => {
    await using stack = new AsyncDisposableStack();
    const dataDir = await mkdtemp(join(tmpdir(), "mail-test-"));
    stack.defer(() => rm(dataDir, { recursive: true }));
    const { service, app } = await startNotification(stack, await createMboxMailer({ dataDir, from }));
    for (let n = 1; n <= 2; n++) {
      await publish(service, orderCreated, "o1", { order: anOrder("o1") });
      await publish(service, checkoutCompleted, "o1", { order: anOrder("o1") });
      await publish(service, orderCreated, "o2", { order: anOrder("o2") });
      await publish(service, checkoutCancelled, "o2", { order: anOrder("o2"), reason: "out_of_stock" });
    }
    await settled(service);
    expect(await stored(service, "NOTIFICATION")).toEqual({
      "notification.mail.o1.order_received": 1,
      "notification.mail.o1.order_completed": 1,
      "notification.mail.o2.order_received": 1,
      "notification.mail.o2.order_cancelled": 1,
    });
    const mails = await readMailboxes(join(dataDir, "mail"));
    expect(mails.map(({ messageId }) => messageId).sort()).toEqual([
      "<o1.order_completed@jetstream-checkout>",
      "<o1.order_received@jetstream-checkout>",
      "<o2.order_cancelled@jetstream-checkout>",
      "<o2.order_received@jetstream-checkout>",
    ]);
    const cancelled = mails.find(({ messageId }) => messageId.includes("cancelled"));
    const { text } = parseMail(cancelled?.source ?? "");
    expect(text).toContain("we no longer have all of what you ordered");

    const sent = await app.request("/mails/o2");
    expect(await sent.json()).toEqual({
      order_id: "o2",
      mails: [
        {
          kind: "order_received",
          message_id: "<o2.order_received@jetstream-checkout>",
          sent_at: expect.any(String),
        },
        {
          kind: "order_cancelled",
          message_id: "<o2.order_cancelled@jetstream-checkout>",
          sent_at: expect.any(String),
        },
      ],
    });
    expect(await (await app.request("/mails/ghost")).json()).toEqual({ order_id: "ghost", mails: [] });
    expect((await app.request("/mails/%3E")).status).toBe(404);
  });
});

describe("notification with a mail server", () => {
  it("sends a mail once though its event comes twice", async () => {
    await using stack = new AsyncDisposableStack();
    const smtp = stack.use(await startSmtp());
    const { service } = await startNotification(stack, createSmtpMailer({ url: smtp.url, from }));
    for (let n = 1; n <= 2; n++) await publish(service, orderCreated, "o1", { order: anOrder("o1") });
    await settled(service);
    expect(smtp.mails.map(({ headers }) => headers.get("message-id"))).toEqual([
      "<o1.order_received@jetstream-checkout>",
    ]);
    expect(await stored(service, "NOTIFICATION")).toEqual({ "notification.mail.o1.order_received": 1 });
  });

  it("sends a mail once when the server was down at first", async () => {
    await using stack = new AsyncDisposableStack();
    const [port = 0] = await freePorts(1);
    const url = `smtp://127.0.0.1:${port}`;
    const patience = { firstMs: 1_000, maxMs: 1_000 };
    const { service, app } = await startNotification(stack, createSmtpMailer({ url, from }), patience);
    await publish(service, orderCreated, "o1", { order: anOrder("o1") });
    // It holds no place while it waits.
    await settled(service);
    const mails = async () => (await (await app.request("/mails/o1")).json()) as Mails;
    const late = { kind: "order_received", tries: expect.any(Number), next_try_at: expect.any(String) };
    expect(await mails()).toMatchObject({ mails: [], waiting: [late] });
    const smtp = stack.use(await startSmtp(port));
    await until("the mail to be sent", async () => (await mails()).mails.length === 1);
    expect(smtp.mails.map(({ to }) => to)).toEqual([["ada@example.com"]]);
    expect(await mails()).not.toHaveProperty("waiting");
    expect(await stored(service, "NOTIFICATION")).toMatchObject({ "notification.mail.o1.order_received": 1 });
    expect(await stored(service, DEAD_LETTER_STREAM)).toEqual({});
  });

  it("parks a mail that the server refuses, and goes on with the others", async () => {
    await using stack = new AsyncDisposableStack();
    const smtp = stack.use(await startSmtp());
    smtp.refuse = { at: "rcpt", code: 550, text: "No such user" };
    const { service } = await startNotification(stack, createSmtpMailer({ url: smtp.url, from }));
    await publish(service, orderCreated, "o1", { order: anOrder("o1") });
    await settled(service);
    smtp.refuse = undefined;
    await publish(service, orderCreated, "o2", { order: anOrder("o2") });
    await settled(service);
    expect(smtp.mails).toHaveLength(1);
    expect(await stored(service, "NOTIFICATION")).toEqual({ "notification.mail.o2.order_received": 1 });
    expect(await stored(service, DEAD_LETTER_STREAM)).toEqual({
      "dead_letter.notification.notification.ORDER.1": 1,
    });
    const letter = await service.jsm.streams.getMessage(DEAD_LETTER_STREAM, { seq: 1 });
    expect(letter?.header.get("dead-letter-error")).toContain("No such user");
  });
});
