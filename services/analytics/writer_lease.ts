import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import { type Log, orAborted, pause } from "../../nats/mod.ts";
import { claimLease, makeLeaseTable, releaseLease } from "./lease_table.ts";

/**
 * How long a process writes on without renewing the lease. A host that vanishes is followed so much later; one that is slow for so long
 * stops writing.
 */
const LEASE_MS = 15_000;
/** Five times within the lease: a renewal that is lost, and one that waits for a batch, cost nothing. */
const RENEWALS = 5;
/** How often a process that stands by looks whether the lease has run out, and one without a connection tries to get one. */
const RETRY_MS = 1_000;

export interface WriterLeaseOptions {
  /** Makes a client that is not connected yet, whose queries fail after `timeoutMs`. */
  connect(timeoutMs: number): Client;
  log: Log;
  /** Default 15,000. */
  leaseMs?: number | undefined;
}

/**
 * That one process at a time writes the projection, of those that share a database, and that another one follows when it is gone,
 * also when its host has vanished and the server still waits for it: a lease by the database's clock, which each transaction that
 * writes proves to hold (see `lease_table.ts`). It is renewed for as long as this object is there, whether anything is written
 * or not.
 *
 * It keeps two from setting back each other's consumers, and from tables that the other one replaces; that nothing counts twice
 * does not rest on it but on the positions. See ADR 25.
 */
export class WriterLease implements AsyncDisposable {
  readonly #options: WriterLeaseOptions;
  readonly #leaseMs: number;
  readonly #stopping = new AbortController();
  #keeping: Promise<void> | undefined;
  #client: Client | undefined;
  #claim: string = randomUUID();
  /** By this process's clock. Counted from before the server was asked, so that it is no later than by the server's. */
  #heldUntil = 0;
  /** Whether this process has held it before: it stays one that wants it. */
  #wasHeld = false;
  #waiting = 0;
  /** Settled by the next look at the lease. */
  #look: PromiseWithResolvers<void> | undefined;
  #wake = new AbortController();
  #lost = new AbortController();
  #expiry: NodeJS.Timeout | undefined;

  constructor(options: WriterLeaseOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? LEASE_MS;
  }

  /** What a transaction that writes has to say of itself. It counts only while it holds. */
  get claim(): string {
    return this.#claim;
  }

  /** Aborts when this process may no longer hold it, and no later than another can take it. Another signal each time it is taken. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get #wanted(): boolean {
    return this.#waiting > 0 || this.#wasHeld;
  }

  get held(): boolean {
    return this.#client !== undefined && performance.now() < this.#heldUntil;
  }

  /**
   * Resolves once this process holds it: at once while it does.
   * @throws {Error} If the database does not answer, or `signal` aborts.
   */
  async take(signal: AbortSignal): Promise<void> {
    this.#waiting += 1;
    try {
      while (!this.held) {
        this.#stopping.signal.throwIfAborted();
        this.#keeping ??= this.#keep().finally(() => {
          this.#keeping = undefined;
        });
        this.#look ??= newLook();
        await orAborted(this.#look.promise, signal);
      }
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Releases it, so that another process need not wait until it has run out. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake.abort();
    await this.#keeping;
    this.#hold(0);
    const client = this.#client;
    if (client === undefined) return;
    try {
      await releaseLease(client, this.#claim);
    } catch (cause) {
      this.#options.log.info({ err: cause }, "the lease of the projection's writer runs out by itself");
    }
    await this.#disconnect(client);
  }

  /** For as long as anybody waits, and then for as long as this object is there. Who has given up must not get it. */
  async #keep(): Promise<void> {
    const { signal } = this.#stopping;
    for (let standingBy = false; !signal.aborted && this.#wanted; ) {
      this.#wake = new AbortController();
      try {
        const held = await this.#renew();
        if (!held && !standingBy) {
          this.#options.log.info({}, "standing by: another process writes the projection");
        }
        standingBy = !held;
        this.#settle(({ resolve }) => resolve());
      } catch (cause) {
        // Its callers are told, and say so.
        if (this.#waiting === 0) {
          this.#options.log.warn(
            { err: cause },
            "cannot renew the lease of the projection's writer, trying again",
          );
        }
        if (this.#client !== undefined) await this.#disconnect(this.#client);
        this.#settle(({ reject }) => reject(cause));
      }
      await pause(this.held ? this.#leaseMs / RENEWALS : RETRY_MS, this.#wake.signal);
    }
    if (signal.aborted) this.#settle(({ reject }) => reject(signal.reason));
  }

  /** @returns Whether this process holds the lease now. */
  async #renew(): Promise<boolean> {
    const client = this.#client ?? (await this.#connect());
    if (!this.#wanted) return false;
    const ms = this.#leaseMs;
    const asked = performance.now();
    const claim = await claimLease(client, { claim: this.#claim, next: randomUUID(), ms });
    if (claim !== undefined && !this.#wanted) {
      // Its callers have given up meanwhile.
      await releaseLease(client, claim);
      return false;
    }
    this.#hold(claim === undefined ? 0 : asked + ms);
    if (claim === undefined) return false;
    this.#claim = claim;
    this.#wasHeld = true;
    return true;
  }

  #hold(until: number): void {
    this.#heldUntil = until;
    clearTimeout(this.#expiry);
    const leftMs = until - performance.now();
    if (leftMs <= 0) {
      this.#lost.abort();
      return;
    }
    if (this.#lost.signal.aborted) this.#lost = new AbortController();
    const { signal } = this.#lost;
    this.#expiry = setTimeout(() => {
      if (signal === this.#lost.signal) this.#lost.abort();
    }, leftMs);
  }

  async #connect(): Promise<Client> {
    // Of a query that is lost there is time for another one.
    const client = this.#options.connect((this.#leaseMs / RENEWALS) * 2);
    const end = () => {
      if (this.#client !== client) return;
      this.#client = undefined;
      this.#wake.abort();
    };
    client.on("error", end).on("end", end);
    try {
      await client.connect();
      await makeLeaseTable(client);
    } catch (cause) {
      await this.#disconnect(client);
      throw cause;
    }
    this.#client = client;
    return client;
  }

  /** Without a goodbye where the server does not answer: `end()` would wait for it. */
  async #disconnect(client: Client): Promise<void> {
    if (this.#client === client) this.#client = undefined;
    const waiting = new AbortController();
    const ended = client.end().finally(() => waiting.abort());
    await Promise.race([ended, pause(RETRY_MS, waiting.signal)]);
  }

  #settle(how: (look: PromiseWithResolvers<void>) => void): void {
    const look = this.#look;
    this.#look = undefined;
    if (look !== undefined) how(look);
  }
}

/** Who waits for it may have given up. */
function newLook(): PromiseWithResolvers<void> {
  const look = Promise.withResolvers<void>();
  look.promise.catch(() => undefined);
  return look;
}
