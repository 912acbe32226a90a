import type { DescEnum } from "@bufbuild/protobuf";
import { DifferenceType } from "./difference.ts";
import { valuesText } from "./text.ts";
import type { Pair, Walk } from "./walk.ts";

/** Compares the values of two enums by their numbers. Nothing here breaks a reader, whether enums are open or closed. */
export function compareEnum(walk: Walk, { before, after, path }: Pair<DescEnum>): void {
  const old = textByNumber(before);
  const now = textByNumber(after);
  for (const [number, text] of old) {
    const other = now.get(number);
    if (other === text) continue;
    const type = other === undefined ? DifferenceType.EnumValueRemoved : DifferenceType.EnumValueChanged;
    walk.add(type, `${path}/${number}`, { old: text, new: other });
  }
  for (const [number, text] of now) {
    if (!old.has(number)) walk.add(DifferenceType.EnumValueAdded, `${path}/${number}`, { new: text });
  }
}

function textByNumber({ values }: DescEnum): Map<number, string> {
  const byNumber = Map.groupBy(values, ({ number }) => number);
  return new Map([...byNumber].map(([number, same]) => [number, valuesText(same)]));
}
