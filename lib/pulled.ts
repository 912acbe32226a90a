export interface PulledOptions {
  /** Ends the stream: the request's own signal, the drain of the service. */
  signal: AbortSignal;
  /** The stream ends after this, whatever else happens. */
  maxMs: number;
  /** Called once when the stream is over, whichever end comes first: gives back what the stream holds. */
  onEnd: () => void;
}

/**
 * A body that is made as it is read. Nothing of `produce` runs before the first read. It is over with the last text, when
 * its reader cancels it, when `signal` aborts, and after `maxMs`: one of them always comes, so that whatever the stream holds
 * is given back, also when nobody ever reads it. The generator's `finally` has begun by then, or will as soon as what it awaits
 * notices the signal it was given.
 */
export function pulled(
  produce: (signal: AbortSignal) => AsyncGenerator<string>,
  { signal, maxMs, onEnd }: PulledOptions,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const over = new AbortController();
  const texts = produce(over.signal);
  let cancelled = false;
  const end = () => {
    if (over.signal.aborted) return;
    clearTimeout(late);
    signal.removeEventListener("abort", end);
    over.abort();
    onEnd();
    // Where it waits for a reader who never comes, this is what has it clean up.
    void texts.return(undefined);
  };
  const late = setTimeout(end, maxMs);
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await texts.next();
        if (cancelled) return;
        if (!done) return controller.enqueue(encoder.encode(value));
        end();
        controller.close();
      },
      cancel() {
        cancelled = true;
        end();
      },
    },
    { highWaterMark: 0 },
  );
}
