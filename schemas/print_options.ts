import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";

/** An option as it is written: its name, and its value as text. */
export type Setting = readonly [name: string, value: string];

/** What a compiler writes by itself, and text may not. */
const UNWRITTEN = ["map_entry", "uninterpreted_option"];

/**
 * The options that are set, in the order of their numbers: a repeated one as often as it has values, and of a message
 * each part: `features.enum_type`. Custom options are none of them: a descriptor keeps them as unknown fields.
 */
export function settingsOf<S extends DescMessage>(
  schema: S,
  options: MessageShape<S> | undefined,
): Setting[] {
  return options === undefined ? [] : settings(reflect(schema, options, false));
}

function settings(message: ReflectMessage, prefix = ""): Setting[] {
  return message.sortedFields.flatMap((field): Setting[] => {
    if (!message.isSet(field) || UNWRITTEN.includes(field.name)) return [];
    const name = prefix + field.name;
    switch (field.fieldKind) {
      case "message":
        return settings(message.get(field), `${name}.`);
      case "list":
        return [...message.get(field)].map((item) => [name, textOf(field, item)]);
      default:
        return [[name, textOf(field, message.get(field))]];
    }
  });
}

function textOf(field: ReflectMessage["fields"][number], value: unknown): string {
  if (field.enum) return field.enum.value[Number(value)]?.name ?? String(value);
  if (field.message) {
    const parts = settings(value as ReflectMessage).map(([name, part]) => `${name}: ${part}`);
    return `{ ${parts.join(", ")} }`;
  }
  return typeof value === "string" ? quote(value) : String(value);
}

/** As a list behind a field or a value: ` [deprecated = true, packed = false]`, or nothing. */
export function inBrackets(settings: readonly Setting[]): string {
  return settings.length === 0
    ? ""
    : ` [${settings.map(([name, value]) => `${name} = ${value}`).join(", ")}]`;
}

/** As statements in a block. */
export function asStatements(settings: readonly Setting[]): string[] {
  return settings.map(([name, value]) => `option ${name} = ${value};`);
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  '"': '\\"',
  "\\": "\\\\",
};

/** A string literal. What is no ASCII stays: `.proto` text is UTF-8. Three octal digits cannot run into what follows. */
export function quote(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what has to be escaped.
  const escaped = text.replace(/[\0-\x1f\x7f"\\]/g, (char) => {
    return ESCAPES[char] ?? `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`;
  });
  return `"${escaped}"`;
}
