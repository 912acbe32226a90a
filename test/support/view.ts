import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Contract, type Outgoing, subjectOf } from "../../nats/contracts/mod.ts";
import type { View } from "../../nats/mod.ts";

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

  /** Subjects stored so far, in order. */
  get subjects(): string[] {
    return this.log.map((message) => message.subject);
  }
}
