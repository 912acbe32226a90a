/** A row as JSON has it: times as RFC 3339, and without what is not there. */
export type Present<T> = {
  [K in keyof T as null extends T[K] ? never : K]: Said<T[K]>;
} & { [K in keyof T as null extends T[K] ? K : never]?: Said<NonNullable<T[K]>> };

type Said<T> = T extends Date ? string : T;

export function present<T extends object>(row: T): Present<T> {
  const said = Object.entries(row).flatMap(([name, value]) => {
    if (value === null || value === "") return [];
    return [[name, value instanceof Date ? value.toISOString() : value]];
  });
  return Object.fromEntries(said);
}
