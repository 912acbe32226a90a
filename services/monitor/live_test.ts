import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  applyTopology,
  checkoutState,
  checkoutTimer,
  commit,
  deadlinePassed,
  encode,
  message,
  newHeaders,
  type Outgoing,
  readLags,
  subjectOf,
} from "../../nats/mod.ts";
import { type Client, startNats } from "../../test/support/mod.ts";
import { readLive } from "./live.ts";

const now = Date.parse("2026-01-01T00:00:00Z");
const at = (seconds: number) => timestampFromMs(now + seconds * 1_000);

let stack: AsyncDisposableStack;
let client: Client;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
});
afterEach(() => stack.disposeAsync());

async function store(...messages: Outgoing[]): Promise<void> {
  const entries = messages.map(({ subject, contract, value }) => {
    return { subject, data: encode(contract, value), headers: newHeaders() };
  });
  expect((await commit(client.connection, "CHECKOUT", entries)).kind).toBe("committed");
}

/** Seconds before and after now. */
function checkout(id: string, state: string, entered: number, deadline: number | undefined): Outgoing {
  return message(checkoutState, id, {
    state,
    history: [
      { state: "created", at: at(entered - 100) },
      { state, at: at(entered) },
    ],
    ...(deadline !== undefined && { deadline: at(deadline) }),
  });
}

const timer = (orderId: string) => message(checkoutTimer, orderId, { orderId });

async function live() {
  return readLive(client, { lags: await readLags(client.jsm), now });
}

describe("readLive()", () => {
  it("is empty, with every state, where no order is under way", async () => {
    await store(checkout("ended", "completed", -1_000, undefined));
    const { states, overdue, unseen } = await live();
    expect([...states.keys()]).toContain("refunding");
    expect([...states.values()].every(({ count }) => count === 0)).toBe(true);
    expect({ overdue, unseen }).toEqual({ overdue: 0, unseen: 0 });
  });

  it("counts checkouts by the state they are in, says how long, and which are overdue", async () => {
    await store(checkout("a", "reserving", -500, -400), timer("a"));
    await store(checkout("a", "screening", -30, 30));
    await store(checkout("b", "screening", -90, -1), timer("b"));
    await store(checkout("c", "in_review", -7_200, 3_600), timer("c"));
    await store(checkout("d", "dancing", -5, 5), timer("d"));
    const { states, overdue } = await live();
    expect(states.get("reserving")).toEqual({ count: 0, oldestSeconds: 0 });
    expect(states.get("screening")).toEqual({ count: 2, oldestSeconds: 90 });
    expect(states.get("in_review")).toEqual({ count: 1, oldestSeconds: 7_200 });
    expect(states.get("other")).toEqual({ count: 1, oldestSeconds: 5 });
    expect(overdue).toBe(1);
  });

  it("sees a checkout whose timer has fired, for as long as the coordinator has not handled it", async () => {
    await store(checkout("a", "charging", -600, -300));
    await store(message(deadlinePassed, "a", { orderId: "a" }));
    await store(
      message(deadlinePassed, "gone", { orderId: "gone" }),
      checkout("gone", "cancelled", -1, undefined),
    );
    expect((await live()).states.get("charging")).toEqual({ count: 1, oldestSeconds: 600 });
    expect((await live()).overdue).toBe(1);
    const consumer = await client.js.consumers.get("CHECKOUT", "coordinator");
    for (let n = 0; n < 2; n++) await (await consumer.next())?.ackAck();
    expect((await live()).states.get("charging")?.count).toBe(0);
  });

  it("goes on without a checkout that cannot be decoded, over more than one page", async () => {
    const ids = Array.from({ length: 1_200 }, (_, n) => `o${n}`);
    for (let from = 0; from < ids.length; from += 400) {
      const some = ids.slice(from, from + 400);
      await store(...some.flatMap((id) => [checkout(id, "fulfilling", -10, 10), timer(id)]));
    }
    const broken = {
      subject: subjectOf(checkoutState, "o700"),
      data: new Uint8Array([255]),
      headers: newHeaders(),
    };
    await commit(client.connection, "CHECKOUT", [broken]);
    const { states, unseen } = await live();
    expect(states.get("fulfilling")?.count).toBe(1_199);
    expect(unseen).toBe(0);
  });
});
