// The registry's data, as every process may read it, and the two gates that rest on it.
export { SCHEMAS, SCHEMAS_STREAM, schema as storedSchema, schemaSubject, subjectSettings } from "./bucket.ts";
export {
  type Candidate,
  compatibilityOf,
  DEFAULT_COMPATIBILITY,
  modeOf,
  normalizes,
  type RegistryView,
  type StoredSchema,
  type SubjectMode,
  settingsKeys,
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
