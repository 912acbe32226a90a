import { events, type Rule, type State, states, table } from "./table.ts";

/** The table as a page for people: a Mermaid state diagram of its transitions, then every row in words. */
export function tablePage(): string {
  return `<!-- Generated from services/coordinator/table.ts by \`npm run docs\`. Do not edit. -->

# The checkout

${"```mermaid"}
${diagram()}
${"```"}

An arrow is an event; behind the slash are the commands that go out with the transition. An event that is not on an arrow
leaves the state as it is: what it means there is in the rows below.

${states.map(stateSection).join("\n\n")}
`;
}

/** https://mermaid.js.org/syntax/stateDiagram.html */
export function diagram(): string {
  const arrows = states.flatMap((from) =>
    rows(from).flatMap(([event, rule]) => {
      if (rule.kind !== "go") return [];
      const label = [
        ...(rule.reason ? [`[${rule.reason}]`] : []),
        ...(rule.send.length ? [`/ ${rule.send.join(", ")}`] : []),
      ];
      return [`  ${from} --> ${rule.to}: ${[event, ...label].join(" ")}`];
    }),
  );
  return [
    "stateDiagram-v2",
    "  [*] --> created",
    ...arrows,
    "  completed --> [*]",
    "  cancelled --> [*]",
  ].join("\n");
}

function stateSection(state: State): string {
  const lines = rows(state).map(([event, rule]) => `| \`${event}\` | ${describe(rule)} |`);
  return [`## ${state}`, "", "| event | what it means |", "|---|---|", ...lines].join("\n");
}

function describe(rule: Rule): string {
  const commands = "send" in rule && rule.send.length > 0 ? `; send ${rule.send.join(", ")}` : "";
  switch (rule.kind) {
    case "go":
      return `**→ ${rule.to}**${rule.reason ? ` (${rule.reason})` : ""}${commands}`;
    case "defer":
      return `keep for later: ${rule.why}`;
    case "repeat":
      return `stay: ${rule.why}${commands}`;
    case "compensate":
      return `compensate: ${rule.why}${commands}`;
    case "ignore":
      return `ignore: ${rule.why}`;
    default:
      return rule satisfies never;
  }
}

function rows(state: State): [string, Rule][] {
  return events.map((event) => [event, table[state][event]]);
}
