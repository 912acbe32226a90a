import { accept } from "./accept.ts";
import type { Benchmark } from "./benchmark.ts";
import { cascade } from "./cascade.ts";
import { catchup } from "./catchup.ts";
import { checkout } from "./checkout.ts";
import { compatibility } from "./compatibility.ts";
import { exports } from "./export.ts";
import { growth } from "./growth.ts";
import { raw } from "./raw.ts";
import { start } from "./start.ts";

/** In the order of the document and of a run of all. */
export const benchmarks: readonly Benchmark[] = [
  checkout,
  cascade,
  catchup,
  accept,
  growth,
  exports,
  raw,
  start,
  compatibility,
];
