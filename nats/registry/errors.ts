/** Why the registry does not do what it is asked, as Confluent's REST API numbers it. */
export const RegistryCode = {
  SubjectNotFound: 40401,
  VersionNotFound: 40402,
  SchemaNotFound: 40403,
  SubjectSoftDeleted: 40404,
  SubjectNotSoftDeleted: 40405,
  VersionSoftDeleted: 40406,
  VersionNotSoftDeleted: 40407,
  NoSubjectConfig: 40408,
  NoSubjectMode: 40409,
  Incompatible: 40901,
  InvalidSchema: 42201,
  InvalidVersion: 42202,
  InvalidLevel: 42203,
  InvalidMode: 42204,
  NotPermitted: 42205,
  ReferenceExists: 42206,
  IdMismatch: 42207,
  InvalidSubject: 42208,
  TooLarge: 42209,
  Store: 50001,
  Timeout: 50002,
} as const;
export type RegistryCode = (typeof RegistryCode)[keyof typeof RegistryCode];

/** The registry does not do what it is asked. Nothing was stored. */
export class RegistryError extends Error {
  override name = "RegistryError";
  readonly code: RegistryCode;

  constructor(code: RegistryCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export function subjectNotFound(subject: string): RegistryError {
  return new RegistryError(RegistryCode.SubjectNotFound, `Subject ${JSON.stringify(subject)} not found`);
}

export function versionNotFound(version: number): RegistryError {
  return new RegistryError(RegistryCode.VersionNotFound, `Version ${version} not found`);
}

export function notPermitted(text: string): RegistryError {
  return new RegistryError(RegistryCode.NotPermitted, text);
}
