// The registry's data, as every process may read it, and the two gates that rest on it.
export {
  globalSettingsKey,
  SCHEMAS,
  SCHEMAS_STREAM,
  schemaSubject,
  settingsKey,
  subjectKey,
} from "./bucket.ts";
export {
  type Candidate,
  compatibilityOf,
  DEFAULT_COMPATIBILITY,
  guidKey as storedGuid,
  MAX_ID,
  modeOf,
  normalizes,
  type RegistryView,
  type StoredSchema,
  type SubjectMode,
  subjectModes,
  subjectNotFound,
  versionNotFound,
} from "./decide.ts";
export { RegistryCode, RegistryError } from "./errors.ts";
export * from "./living.ts";
export * from "./read_gate.ts";
export * from "./readers.ts";
export * from "./start_gate.ts";
export * from "./store.ts";
