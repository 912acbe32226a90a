import type { Logger } from "pino";

/** A log whose entries share some fields. As `child()` of a log does, but it costs nothing until something is said. */
export class RequestLog {
  readonly #log: Logger;
  readonly #shared: object;

  constructor(log: Logger, shared: object) {
    this.#log = log;
    this.#shared = shared;
  }

  debug(fields: object, text: string): void {
    if (this.#log.isLevelEnabled("debug")) this.#log.debug({ ...this.#shared, ...fields }, text);
  }

  info(fields: object, text: string): void {
    if (this.#log.isLevelEnabled("info")) this.#log.info({ ...this.#shared, ...fields }, text);
  }

  warn(fields: object, text: string): void {
    this.#log.warn({ ...this.#shared, ...fields }, text);
  }

  error(fields: object, text: string): void {
    this.#log.error({ ...this.#shared, ...fields }, text);
  }

  child(shared: object): RequestLog {
    return new RequestLog(this.#log, { ...this.#shared, ...shared });
  }
}
