import { type ObjectContext, object } from "@restatedev/restate-sdk";
import { initialStock, stockedSkus } from "../../sandbox.ts";

/**
 * Stock, one virtual object for each sku: Restate runs its handlers one after the other and stores what they set with
 * the call's own journal, so that a unit is taken once for each reservation and never sold twice.
 */
export const inventory = object({
  name: "Inventory",
  handlers: {
    /** Whether a unit was left and is taken now. */
    async reserve(context: ObjectContext): Promise<boolean> {
      const left = await available(context);
      if (left < 1) return false;
      context.set("available", left - 1);
      return true;
    },
    async release(context: ObjectContext): Promise<void> {
      context.set("available", (await available(context)) + 1);
    },
    available,
  },
});

async function available(context: ObjectContext): Promise<number> {
  const atStart = stockedSkus.includes(context.key) ? initialStock : 0;
  return (await context.get<number>("available")) ?? atStart;
}
