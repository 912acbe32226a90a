import type { DescFile, DescMessage } from "@bufbuild/protobuf";
import { compareMessages, describeDifference } from "../../schemas/mod.ts";
import type { Contract } from "../contracts/contract.ts";
import type { StoredSchema } from "./view.ts";

/** Schemas that a process has looked at. More are none of this shop's, and forgotten. */
const MAX_KNOWN = 10_000;

/** Where schemas are looked up: a `SchemaStore`. */
export interface Schemas {
  schema(id: number): Promise<StoredSchema | undefined>;
  subject(name: string): Promise<{ readonly versions: readonly unknown[] } | undefined>;
}

/** Why a message must not be read as what its contract says; undefined if it may. */
export type Verdict = string | undefined;

/**
 * Whether a message can be read with what this process was compiled against, by the schema that it names. Each schema is
 * looked up once; from then on the answer is at hand.
 */
export class ReadGate {
  readonly #store: Schemas;
  readonly #verdicts = new Map<string, Verdict | Promise<Verdict>>();

  constructor(store: Schemas) {
    this.#store = store;
  }

  /**
   * @param dataSchema The message's `ce-dataschema`, empty if it has none.
   * @throws {Error} If the registry's data cannot be read now, or are lost. The message is not at fault.
   */
  check(contract: Contract, dataSchema: string): Verdict | Promise<Verdict> {
    const key = `${contract.subject} ${dataSchema}`;
    const known = this.#verdicts.get(key);
    if (known !== undefined || this.#verdicts.has(key)) return known;
    const looking = this.#look(contract, dataSchema).then(
      ({ verdict, final }) => {
        if (final) this.#verdicts.set(key, verdict);
        else this.#verdicts.delete(key);
        return verdict;
      },
      (cause) => {
        this.#verdicts.delete(key);
        throw cause;
      },
    );
    if (this.#verdicts.size >= MAX_KNOWN) this.#verdicts.clear();
    this.#verdicts.set(key, looking);
    return looking;
  }

  async #look(contract: Contract, dataSchema: string): Promise<{ verdict: Verdict; final: boolean }> {
    const id = schemaIdIn(dataSchema);
    const stored = id === undefined ? undefined : await this.#store.schema(id);
    if (stored !== undefined) return { verdict: judge(contract, { id, file: stored.file }), final: true };
    // Nobody stores a message before its schema is a version of its subject.
    if (id !== undefined && !((await this.#store.subject(contract.subject))?.versions.length ?? 0)) {
      throw new Error(
        `Cannot look up ${dataSchema}: the registry has lost all schemas of ${contract.subject}`,
      );
    }
    const unknown = `it names a schema that the registry does not have: ${dataSchema}`;
    // It may have it later, once somebody has restored its data.
    return { verdict: dataSchema === "" ? "it names no schema (ce-dataschema)" : unknown, final: false };
  }
}

function judge(contract: Contract, { id, file }: { id: number | undefined; file: DescFile }): Verdict {
  const written = findMessage(file, contract.schema);
  if (written === undefined) return `schema ${id} has no ${contract.schema.typeName}`;
  const wrong = compareMessages(written, contract.schema).filter(({ compatible }) => !compatible);
  if (wrong.length === 0) return undefined;
  return `schema ${id} cannot be read as the ${contract.schema.typeName} of this build: ${wrong.map((it) => describeDifference(it)).join("; ")}`;
}

/** The id in `http://…/schemas/ids/7`. */
export function schemaIdIn(dataSchema: string): number | undefined {
  const [, digits] = /\/schemas\/ids\/([1-9]\d{0,8})$/.exec(dataSchema) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** The URL that messages name a schema by. */
export function dataSchemaOf(registryUrl: string, id: number): string {
  return `${registryUrl}/schemas/ids/${id}`;
}

/** The message of another version of a file that has the same name in it. */
export function findMessage(file: DescFile, like: DescMessage): DescMessage | undefined {
  const names = (message: DescMessage): DescMessage[] => [message, ...message.nestedMessages.flatMap(names)];
  return file.messages.flatMap(names).find((message) => localName(message) === localName(like));
}

function localName({ typeName, file }: DescMessage): string {
  return file.proto.package === "" ? typeName : typeName.slice(file.proto.package.length + 1);
}
