import type { DescField, DescFile, DescMessage } from "@bufbuild/protobuf";
import { type Difference, DifferenceType, isCompatible } from "./difference.ts";
import { fieldText, relativeName } from "./text.ts";

/** A difference to what an earlier version had. */
export interface Reuse {
  readonly version: number;
  readonly difference: Difference;
}

/** One message as a version has it. */
interface Past {
  readonly version: number;
  readonly byNumber: ReadonlyMap<number, DescField>;
  readonly byName: ReadonlyMap<string, DescField>;
}

/**
 * Fields that `candidate` brings in under a number or a name that belonged to another one, each with the last version
 * that had it. None are: a field that comes back as it was, whose data is read rightly; one that is renamed; and one
 * that the latest version has already, for what that did is done. Only of the file's own messages: a file that is
 * imported has a history of its own.
 *
 * @param versions Oldest first.
 */
export function findReuse(
  candidate: DescFile,
  versions: readonly { version: number; file: DescFile }[],
): Reuse[] {
  const newestFirst = versions
    .map(({ version, file }) => ({ version, messages: messagesOf(file) }))
    .reverse();
  return [...messagesOf(candidate)].flatMap(([name, message]) => {
    const history = newestFirst.map(({ version, messages }) => toPast(version, messages.get(name)));
    return message.fields.flatMap((field) => [...reusesOf(field, history)]);
  });
}

function* reusesOf(field: DescField, [latest, ...earlier]: readonly Past[]): Generator<Reuse> {
  if (latest === undefined || latest.byNumber.get(field.number)?.name === field.name) return;
  const reuse = (type: DifferenceType, version: number, before: DescField): Reuse => {
    const path = `#/${relativeName(field.parent)}/${field.number}`;
    const sides = { old: fieldText(before), new: fieldText(field) };
    return { version, difference: { type, path, ...sides, compatible: isCompatible[type] } };
  };
  if (!latest.byNumber.has(field.number)) {
    const past = earlier.find(({ byNumber }) => byNumber.has(field.number));
    const before = past?.byNumber.get(field.number);
    if (past && before && fieldText(before) !== fieldText(field)) {
      yield reuse(DifferenceType.FieldNumberReused, past.version, before);
    }
  }
  const past = [latest, ...earlier].find(({ byName }) => byName.has(field.name));
  const before = past?.byName.get(field.name);
  if (past && before && before.number !== field.number) {
    yield reuse(DifferenceType.FieldNameReused, past.version, before);
  }
}

/** A version without the message has none of its fields. */
function toPast(version: number, message: DescMessage | undefined): Past {
  const fields = message?.fields ?? [];
  return {
    version,
    byNumber: new Map(fields.map((field) => [field.number, field])),
    byName: new Map(fields.map((field) => [field.name, field])),
  };
}

/** All messages of a file by their names relative to the package, nested ones too. */
function messagesOf({ messages }: DescFile): Map<string, DescMessage> {
  const all = new Map<string, DescMessage>();
  const add = (message: DescMessage) => {
    all.set(relativeName(message), message);
    for (const nested of message.nestedMessages) add(nested);
  };
  for (const message of messages) add(message);
  return all;
}
