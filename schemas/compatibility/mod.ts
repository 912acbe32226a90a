// Whether data that was written with one schema can be read with another. Pure: no clock, no input or output.
export {
  type CheckOptions,
  check,
  describe,
  describeDifference,
  type Incompatibility,
  type Mode,
  modes,
  type Version,
} from "./check.ts";
export { compare, compareMessages } from "./compare.ts";
export { type Difference, DifferenceType } from "./difference.ts";
export type { CompareOptions } from "./walk.ts";
