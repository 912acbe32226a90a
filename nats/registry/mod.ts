// The registry's data, as every process may read it, and the two gates that rest on it.
export {
  globalSettingsKey,
  guidKey as storedGuid,
  SCHEMAS,
  SCHEMAS_STREAM,
  schemaKey,
  schemaSubject,
  settingsKey,
  subjectKey,
} from "./bucket.ts";
export { RegistryCode, RegistryError, subjectNotFound, versionNotFound } from "./errors.ts";
export { compatibilityIn, inspectImport, inspectSchema, type Refusal, unreadable } from "./inspect.ts";
export { directImports, importedFiles } from "./keys.ts";
export * from "./living.ts";
export * from "./read_gate.ts";
export * from "./readers.ts";
export { MAX_ID } from "./register.ts";
export {
  compatibilityOf,
  DEFAULT_COMPATIBILITY,
  modeOf,
  normalizes,
  type SubjectMode,
  subjectModes,
} from "./settings.ts";
export * from "./start_gate.ts";
export * from "./store.ts";
export type { Candidate, RegistryView, StoredSchema } from "./view.ts";
