import {
  type Command,
  type Event,
  events,
  type Rule,
  type State,
  states,
  type Table,
  table,
} from "../../services/coordinator/table.ts";

/** A table with one mistake in it. */
export interface Mutation {
  readonly name: string;
  readonly table: Table;
}

/** The checkout's table, or another, with another rule in one place. */
export function mutate(state: State, event: Event, rule: Rule, before: Table = table): Table {
  return { ...before, [state]: { ...before[state], [event]: rule } };
}

const ignored: Rule = { kind: "ignore", why: "a mistake" };

/** Every mistake that is made by leaving something out: a rule that is ignored, and a command that is not sent. */
export function omissions(): Mutation[] {
  return states.flatMap((state) =>
    events.flatMap((event) => {
      const rule: Rule = table[state][event];
      if (rule.kind === "ignore") return [];
      const where = `${state} × ${event}`;
      const commands: readonly Command[] = rule.kind === "defer" ? [] : rule.send;
      const without = commands.map((command) => {
        const send = commands.filter((other) => other !== command);
        return { name: `${where}: no ${command}`, table: mutate(state, event, { ...rule, send } as Rule) };
      });
      return [{ name: `${where}: ignored`, table: mutate(state, event, ignored) }, ...without];
    }),
  );
}
