import { createHash } from "node:crypto";
import { RegistryCode, RegistryError } from "../../nats/mod.ts";
import { CompileError, compile, type FileSet, type Sources } from "../../schemas/mod.ts";

/** Compilations at a time: each is a process that takes a core. */
const MAX_RUNNING = 2;
/** Compilations that wait. At a tenth of a second each, the last one has waited long enough. */
const MAX_WAITING = 64;
/** Sources whose result is kept, and how long they may be: a descriptor takes some ten times as much memory. */
const MAX_CACHED = 500;
const MAX_CACHED_LENGTH = 32 * 1024;
/** Faults that are told of: what is another language has one in each line. */
const MAX_FAULTS = 20;

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
    const all = JSON.stringify(Object.entries(sources).sort());
    const hash = createHash("sha256").update(all).digest("hex");
    const known = this.#compiled.get(hash);
    if (known !== undefined) return known;
    const compiling = this.#inTurn(() => compile(sources, { folder: this.#folder })).then(
      (files) => {
        if (all.length > MAX_CACHED_LENGTH) this.#compiled.delete(hash);
        return files;
      },
      (cause) => {
        // A fault of the text is the same next time, but cheap to find again; anything else may not be.
        this.#compiled.delete(hash);
        if (!(cause instanceof CompileError)) throw cause;
        const message = `Invalid schema: ${firstFaults(cause.message)}`;
        throw new RegistryError(RegistryCode.InvalidSchema, message, { cause });
      },
    );
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

function firstFaults(text: string): string {
  const lines = text.split("\n");
  const more = lines.length - MAX_FAULTS;
  return [...lines.slice(0, MAX_FAULTS), ...(more > 0 ? [`and ${more} more`] : [])].join("\n");
}
