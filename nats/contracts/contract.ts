import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";

/**
 * A kind of message: the subject it is stored under and the protobuf message it carries.
 * The full subject is `<subject>.<id>`; the stream's owner is the first token.
 */
export interface Contract<S extends DescMessage = DescMessage> {
  /** Two tokens, without the id: `inventory.item`. */
  readonly subject: string;
  readonly schema: S;
  /**
   * Whether each write is kept when several decisions of one batch write the same subject. An event or a history is
   * kept whole (the default); of a `latest` contract only the last value of a batch is stored, which is what makes
   * one hot entity as fast as many. Schedules have to be `latest`: the server refuses two of one subject in a batch.
   */
  readonly keep: "every" | "latest";
  /** Whether the server stores it when a schedule fires. It carries the schedule's headers then, its batch's among them. */
  readonly fired: boolean;
  /**
   * Whether it only says that it is time to look at what a sweep looks at as well. One that cannot be handled is let go: what it
   * is about is mended without it, and a dead letter would stay when nothing is left to do.
   */
  readonly hint: boolean;
}

/** The last message of one subject, as the state of one entity. */
export interface Key<S extends DescMessage = DescMessage> {
  readonly subject: string;
  readonly contract: Contract<S>;
}

/** A message that a decision wants stored. Delivered to others only if its whole batch is committed. */
export interface Outgoing<S extends DescMessage = DescMessage> {
  readonly subject: string;
  readonly contract: Contract<S>;
  readonly value: MessageShape<S>;
  /** Stored as a schedule (ADR-51): at `at` the server publishes the same message once to `target` and removes it. */
  readonly schedule?: { readonly at: Date; readonly target: string };
  /** Subject of a schedule that this message removes. No error if it has fired or never was. */
  readonly cancels?: string;
}

export function contract<S extends DescMessage>(
  subject: string,
  schema: S,
  options: Partial<Pick<Contract, "keep" | "fired" | "hint">> = {},
): Contract<S> {
  const { keep = "every", fired = false, hint = false } = options;
  return { subject, schema, keep, fired, hint };
}

export function key<S extends DescMessage>(contract: Contract<S>, id: string): Key<S> {
  return { subject: subjectOf(contract, id), contract };
}

/** A message of `contract` about the entity `id`. */
export function message<S extends DescMessage>(
  contract: Contract<S>,
  id: string,
  init: MessageInitShape<S>,
  options: Pick<Outgoing, "schedule" | "cancels"> = {},
): Outgoing<S> {
  return {
    subject: subjectOf(contract, id),
    contract,
    value: create(contract.schema, init),
    ...options,
  };
}

/** The id that was looked at last: a decision makes all its keys and messages of one, a dozen in a row. */
let knownId: string | undefined;

/**
 * @throws {RangeError} If `id` is not one or more subject tokens: empty, or with white space, `*`, `>` or an empty
 * token. Whatever comes from outside is validated before it gets here.
 */
export function subjectOf(contract: Contract, id: string): string {
  if (id !== knownId) {
    if (!/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(id)) {
      throw new RangeError(`Cannot make a subject of ${contract.subject}: ${JSON.stringify(id)} is no token`);
    }
    knownId = id;
  }
  return `${contract.subject}.${id}`;
}

/** Splits `inventory.item.mug` into `inventory.item` and `mug`. */
export function splitSubject(subject: string): { prefix: string; id: string } {
  const end = subject.indexOf(".", subject.indexOf(".") + 1);
  return end < 0
    ? { prefix: subject, id: "" }
    : { prefix: subject.slice(0, end), id: subject.slice(end + 1) };
}

export function encode(contract: Contract, value: MessageShape<DescMessage>): Uint8Array {
  return toBinary(contract.schema, value);
}

/** @throws {Error} If `data` is not a message of the contract's schema. */
export function decode<S extends DescMessage>(contract: Contract<S>, data: Uint8Array): MessageShape<S> {
  return fromBinary(contract.schema, data);
}
