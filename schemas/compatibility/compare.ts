import type { DescFile, DescMessage } from "@bufbuild/protobuf";
import { compareDeclarations, type Missing, nestedIn } from "./declarations.ts";
import { type Difference, DifferenceType } from "./difference.ts";
import { compareEnum } from "./enums.ts";
import { compareMessage } from "./messages.ts";
import { messageText, relativeName } from "./text.ts";
import { type CompareOptions, Walk } from "./walk.ts";

/**
 * What differs for a reader with `after` of data that was written with `before`: all of it, what is compatible too.
 *
 * Messages and enums of the two files are matched by their names relative to the package, fields by their numbers; what
 * their types are is followed through imports, types of other files being matched by their names relative to *their*
 * packages. Services, extensions and options are not looked at. Of whole messages that are added or removed only the
 * outermost is told.
 *
 * A message that its file no longer declares has moved, if a message that is still there has fields of it, and it has
 * the same full name in the other file; otherwise it is removed.
 */
export function compare(before: DescFile, after: DescFile, options: CompareOptions = {}): Difference[] {
  if (before === after) return [];
  const walk = new Walk({ before, after }, options);
  comparePackages(walk, before, after);
  let { removed, added } = compareDeclarations(walk, before, after);
  for (;;) {
    look(walk);
    const moved = removed.filter((message) => walk.successorOf(message) !== undefined);
    if (moved.length === 0) break;
    const nested = moved.map((message) => follow(walk, message));
    removed = [
      ...removed.filter((message) => !moved.includes(message)),
      ...nested.flatMap((it) => it.removed),
    ];
    added = [...added, ...nested.flatMap((it) => it.added)];
  }
  for (const message of removed) {
    walk.add(DifferenceType.MessageRemoved, `#/${relativeName(message)}`, { old: messageText(message) });
  }
  for (const message of added) {
    const type = walk.isSuccessor(message) ? DifferenceType.MessageMoved : DifferenceType.MessageAdded;
    walk.add(type, `#/${relativeName(message)}`, { new: messageText(message) });
  }
  return walk.differences;
}

/**
 * The same for one message and whatever it reaches, whatever else is in its file. Another name relative to the package
 * is a message that is gone.
 */
export function compareMessages(
  before: DescMessage,
  after: DescMessage,
  options: CompareOptions = {},
): Difference[] {
  if (before === after) return [];
  const walk = new Walk({ before: before.file, after: after.file }, options);
  comparePackages(walk, before.file, after.file);
  if (relativeName(before) !== relativeName(after)) {
    const sides = { old: messageText(before), new: messageText(after) };
    walk.add(DifferenceType.MessageRemoved, `#/${relativeName(before)}`, sides);
  }
  walk.reach(before, after);
  look(walk);
  return walk.differences;
}

function comparePackages(walk: Walk, { proto: before }: DescFile, { proto: after }: DescFile): void {
  if (before.package === after.package) return;
  const sides = { old: `package ${before.package}`, new: `package ${after.package}` };
  walk.add(DifferenceType.PackageChanged, "#/", sides);
}

function look(walk: Walk): void {
  walk.run({ message: (pair) => compareMessage(walk, pair), enum: (pair) => compareEnum(walk, pair) });
}

/** Goes on in the other file with what is nested in a message that moved there. */
function follow(walk: Walk, before: DescMessage): Missing {
  const after = walk.successorOf(before) as DescMessage;
  const sides = { old: messageText(before), new: messageText(after) };
  walk.add(DifferenceType.MessageMoved, `#/${relativeName(before)}`, sides);
  return compareDeclarations(walk, nestedIn(before), nestedIn(after));
}
