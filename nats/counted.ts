/**
 * A number with its noun: `1 order`, `2 orders`.
 * @param many The noun for all numbers but 1. Default: `one` with an s.
 */
export function counted(number: number | bigint, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 || number === 1n ? one : many}`;
}
