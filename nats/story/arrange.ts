/** What was stored in one piece, be it one message: a decision, a timer that fired, a change of a dead letter. */
export interface Piece<T> {
  readonly stream: string;
  /** Of its first message, by the server's clock; Unix time in milliseconds. */
  readonly at: number;
  /** `STREAM/sequence` of each message. */
  readonly places: readonly string[];
  /** `STREAM/sequence` of the message that it came of, undefined if that is not known. */
  readonly cause: string | undefined;
  readonly content: T;
}

/**
 * The pieces of all streams in one order: those of a stream as they are in it, none before the message that it came of, and
 * for the rest by time, where clocks of several servers may differ. What came of a message that is not among them has no
 * cause. A circle, which no server makes but a restored backup may, is broken at its earliest piece.
 *
 * @param streams Pieces by stream, each in stream order. Where nothing else decides, the first stream goes first.
 */
export function arrange<T>(streams: readonly (readonly Piece<T>[])[]): Piece<T>[] {
  const there = new Set(streams.flatMap((pieces) => pieces.flatMap(({ places }) => places)));
  const told = new Set<string>();
  const next = streams.map(() => 0);
  const all: Piece<T>[] = [];
  for (;;) {
    const heads = streams.flatMap((pieces, index) => {
      const piece = pieces[next[index] ?? 0];
      return piece === undefined ? [] : [{ piece, index }];
    });
    if (heads.length === 0) return all;
    const isDue = ({ cause }: Piece<T>) => cause === undefined || told.has(cause) || !there.has(cause);
    const due = heads.filter(({ piece }) => isDue(piece));
    const { piece, index } = earliest(due.length > 0 ? due : heads);
    next[index] = (next[index] ?? 0) + 1;
    all.push(piece);
    for (const place of piece.places) told.add(place);
  }
}

function earliest<H extends { piece: { at: number } }>(heads: readonly H[]): H {
  return heads.reduce((first, head) => (head.piece.at < first.piece.at ? head : first));
}
