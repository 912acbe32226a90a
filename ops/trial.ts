import {
  type DeadLetter,
  ledgerOf,
  ReadGate,
  rehearse,
  SchemaStore,
  type Trial,
  tryLetter,
} from "../nats/mod.ts";
import type { Shop } from "./connect.ts";
import { handlerOf } from "./handlers.ts";

/** Tries letters by what this build would do about them, with the schemas and the state that are stored. */
export interface Trials extends AsyncDisposable {
  readonly trial: (letter: DeadLetter) => Promise<Trial>;
}

export function openTrials({ connection }: Pick<Shop, "connection">): Trials {
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const store = new SchemaStore(connection, { source: "/ops", log });
  const gate = new ReadGate(store);
  return {
    trial: (letter) =>
      tryLetter(letter, {
        readable: (...asked) => gate.check(...asked),
        rehearse: async (tried, value) => {
          const handler = handlerOf(tried);
          if (handler === undefined) return undefined;
          return rehearse(connection, handler, { letter: tried, value, ledger: ledgerOf(tried.service) });
        },
      }),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
