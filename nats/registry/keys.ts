import type { DescFile } from "@bufbuild/protobuf";
import { isWellKnown } from "../../schemas/mod.ts";
import type { Contract } from "../contracts/contract.ts";
import { schema, schemaId, subjectKey } from "./bucket.ts";

/**
 * Keys, as subjects of a stream, that somebody who stores messages of these contracts writes when their schemas are
 * registered: new schemas, and the subjects of the messages and of all that they import.
 */
export function registrationKeys(contracts: readonly Contract[]): string[] {
  const subjects = contracts.flatMap((contract) => [
    contract.subject,
    ...importedFiles(contract.schema.file).map(({ proto }) => proto.name),
  ]);
  return [
    `${schema.subject}.*`,
    `${schemaId.subject}.*`,
    ...new Set(subjects.map((subject) => subjectKey(subject).subject)),
  ];
}

/** What a file imports itself, without the well-known types. The path of an import is its subject. */
export function directImports(file: DescFile): DescFile[] {
  return file.dependencies.filter(({ proto }) => !isWellKnown(proto.name));
}

/** Every file that `file` imports, each after what it imports itself. */
export function importedFiles(file: DescFile): DescFile[] {
  return [...new Set(directImports(file).flatMap((imported) => [...importedFiles(imported), imported]))];
}
