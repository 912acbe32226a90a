import { createHash } from "node:crypto";
import { RegistryCode, RegistryError } from "../../nats/mod.ts";
import { CompileError, compile, type FileSet, type Sources } from "../../schemas/mod.ts";

/** Compilations at a time: each is a process that takes a core. */
const MAX_RUNNING = 2;
/** Compilations that wait. At a tenth of a second each, the last one has waited long enough. */
const MAX_WAITING = 64;
/** Sources whose result is kept. */
const MAX_CACHED = 500;

/** Compiles `.proto` text, the same text once. */
export class Compiler {
  readonly #folder: string;
  readonly #compiled = new Map<string, Promise<FileSet>>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param folder Where sources are put while they are compiled. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws {RegistryError} With each fault's file, line and column, or if too many others wait. */
  compile(sources: Sources): Promise<FileSet> {
    const hash = createHash("sha256")
      .update(JSON.stringify(Object.entries(sources).sort()))
      .digest("hex");
    const known = this.#compiled.get(hash);
    if (known !== undefined) return known;
    const compiling = this.#inTurn(() => compile(sources, { folder: this.#folder })).catch((cause) => {
      // A fault of the text is the same next time, but cheap to find again; anything else may not be.
      this.#compiled.delete(hash);
      if (!(cause instanceof CompileError)) throw cause;
      throw new RegistryError(RegistryCode.InvalidSchema, `Invalid schema: ${cause.message}`, { cause });
    });
    this.#compiled.set(hash, compiling);
    if (this.#compiled.size > MAX_CACHED) this.#compiled.delete(this.#compiled.keys().next().value ?? "");
    return compiling;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw new RegistryError(RegistryCode.Timeout, `${MAX_WAITING} schemas wait to be compiled. Try again`);
    }
    if (this.#running >= MAX_RUNNING) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
