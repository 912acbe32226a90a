import type { IncomingHeaders } from "./headers.ts";

/**
 * Whether a stored message was written by the server in answer to a Direct Get, and not by the owner of the stream.
 *
 * Permissions say which subjects a client may publish to, but not where it may have the server send an answer. A
 * service that has been taken over can read a message of its own making and name somebody else's subject as the place
 * for the answer, which the stream then stores. Such an answer carries `Nats-Stream`, which the server sets and the
 * asker cannot take away, and which nothing in this project ever publishes (ADR 8). The other answers, to publishes and
 * to pulls, cannot be taken for messages: they are no protobuf, or keep the subject that they were stored under.
 */
export function isForged(headers: Pick<IncomingHeaders, "has"> | undefined): boolean {
  return headers !== undefined && SERVER_SET.some((name) => headers.has(name));
}

/**
 * What the server adds to the headers of an answer, in its order. It takes for granted that a message's own headers end as
 * they should: where they do not, its first line is glued to the last of them and is none of its own, but the others are.
 */
export const SERVER_SET = ["Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"] as const;
