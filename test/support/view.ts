import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Contract, type Outgoing, subjectOf } from "../../nats/contracts/mod.ts";
import { type AnyHandler, type Delivery, newTrace, type Outcome, type View } from "../../nats/mod.ts";

/** A delivery about which nothing is special. */
export const firstDelivery: Delivery = {
  id: "o1",
  now: new Date("2026-01-01T00:00:00Z"),
  storedAt: new Date("2026-01-01T00:00:00Z"),
  seq: 1,
  attempt: 1,
  replayed: false,
  trace: newTrace(),
};

/** A ledger's state in memory, for tests of pure decisions: `store()` is the commit. */
export class MemoryView implements View {
  readonly #last = new Map<string, MessageShape<DescMessage>>();
  /** Everything stored so far, in order. */
  readonly log: Outgoing[] = [];

  get<S extends DescMessage>(contract: Contract<S>, id: string): MessageShape<S> | undefined {
    return this.#last.get(subjectOf(contract, id)) as MessageShape<S> | undefined;
  }

  store(messages: readonly Outgoing[]): this {
    for (const message of messages) {
      this.#last.set(message.subject, message.value);
      this.log.push(message);
    }
    return this;
  }

  /** Lets `handler` decide on `command`, stores what it says, and returns the outcome with the subjects of its messages. */
  handle(
    handler: AnyHandler,
    command: MessageShape<DescMessage>,
    delivery: Partial<Delivery> = {},
  ): { outcome: Outcome<unknown>; subjects: string[] } {
    const outcome: Outcome<unknown> = handler.decide(this, command, { ...firstDelivery, ...delivery });
    const messages = "messages" in outcome ? outcome.messages : [];
    this.store(messages);
    return { outcome, subjects: messages.map((message) => message.subject) };
  }

  /** Subjects stored so far, in order. */
  get subjects(): string[] {
    return this.log.map((message) => message.subject);
  }
}
