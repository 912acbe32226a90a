import { splitSubject } from "./contracts/contract.ts";
import type { AnyHandler } from "./handler.ts";
import type { Incoming } from "./incoming.ts";
import { inEffectSpan } from "./spans.ts";
import type { Tracer } from "./tracer.ts";

/** What handlers do outside the ledger, each in a span of its own, and how much of it is under way. */
export class Effects {
  readonly #tracer: Tracer | undefined;
  readonly #underWay = new Map<AnyHandler, number>();

  constructor(tracer: Tracer | undefined) {
    this.#tracer = tracer;
  }

  /** Whether as many effects of the handler are under way as may be. */
  isFull(handler: AnyHandler): boolean {
    return this.#count(handler) >= (handler.maxEffects ?? Number.POSITIVE_INFINITY);
  }

  /** @throws Whatever the handler throws. */
  async perform(
    { subject, trace, span }: Incoming,
    handler: AnyHandler,
    { effect, ...options }: { effect: unknown; signal: AbortSignal; attempt: number },
  ): Promise<unknown> {
    const perform = async () => handler.perform?.(effect, options);
    this.#underWay.set(handler, this.#count(handler) + 1);
    try {
      if (this.#tracer === undefined || span === undefined) return await perform();
      const described = handler.describe?.(effect) ?? { name: `perform ${splitSubject(subject).prefix}` };
      return await inEffectSpan(this.#tracer, described, { parent: trace, perform });
    } finally {
      this.#underWay.set(handler, this.#count(handler) - 1);
    }
  }

  #count(handler: AnyHandler): number {
    return this.#underWay.get(handler) ?? 0;
  }
}
