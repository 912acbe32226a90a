import type { Bus } from "./bus_contract.ts";
import { Store } from "./store.ts";
import { Timeline } from "./time.ts";

/** The simulation's store, as the contract wants it. */
export async function openFakeBus(): Promise<Bus> {
  const time = new Timeline();
  const ackWaitMs = 1_000;
  const store = new Store<string>({
    now: () => time.now,
    after: (ms, run) => time.after(ms, run),
    ackWaitMs,
  });
  store.addStream("TEST");
  store.addConsumer("TEST", "taker", { filters: ["test.job"] });
  return {
    ackWaitMs,
    now: () => new Date(time.now),
    commit: async (entries) => store.commit("TEST", entries),
    async commitMute(entries, { arrives }) {
      if (arrives) store.commit("TEST", entries);
      return { kind: "unknown" };
    },
    async last(subject) {
      const last = store.last("TEST", subject);
      return last && { seq: last.seq, data: last.data };
    },
    count: async (subject) => store.all("TEST").filter((message) => message.subject === subject).length,
    fetch: async (max) => store.fetch("TEST", "taker", max),
    ack: async ({ seq }) => store.ack("TEST", "taker", seq),
    nak: async ({ seq }, delayMs) => store.nak("TEST", "taker", { seq, delayMs }),
    reset: async () => store.reset("TEST", "taker"),
    async until(what, check) {
      for (;;) {
        const result = await check();
        if (result !== undefined && result !== false) return result;
        if (time.idle) throw new Error(`Cannot wait any longer for ${what}: nothing is left to happen`);
        time.step();
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
