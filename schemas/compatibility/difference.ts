/** What can differ between two schemas. The names that Confluent's registry has are its own. */
export const DifferenceType = {
  PackageChanged: "PACKAGE_CHANGED",
  MessageRemoved: "MESSAGE_REMOVED",
  FieldKindChanged: "FIELD_KIND_CHANGED",
  FieldScalarKindChanged: "FIELD_SCALAR_KIND_CHANGED",
  FieldNamedTypeChanged: "FIELD_NAMED_TYPE_CHANGED",
  FieldEncodingChanged: "FIELD_ENCODING_CHANGED",
  FieldNumericLabelChanged: "FIELD_NUMERIC_LABEL_CHANGED",
  RequiredFieldAdded: "REQUIRED_FIELD_ADDED",
  RequiredFieldRemoved: "REQUIRED_FIELD_REMOVED",
  OneofFieldRemoved: "ONEOF_FIELD_REMOVED",
  MultipleFieldsMovedToOneof: "MULTIPLE_FIELDS_MOVED_TO_ONEOF",
  FieldMovedToExistingOneof: "FIELD_MOVED_TO_EXISTING_ONEOF",
  FieldNumberReused: "FIELD_NUMBER_REUSED",
  FieldNameReused: "FIELD_NAME_REUSED",
  SchemaTooLarge: "SCHEMA_TOO_LARGE",

  MessageAdded: "MESSAGE_ADDED",
  MessageMoved: "MESSAGE_MOVED",
  EnumAdded: "ENUM_ADDED",
  EnumRemoved: "ENUM_REMOVED",
  EnumValueAdded: "ENUM_VALUE_ADDED",
  EnumValueChanged: "ENUM_VALUE_CHANGED",
  EnumValueRemoved: "ENUM_VALUE_REMOVED",
  FieldAdded: "FIELD_ADDED",
  FieldRemoved: "FIELD_REMOVED",
  FieldRenamed: "FIELD_RENAMED",
  FieldScalarTypeChanged: "FIELD_SCALAR_TYPE_CHANGED",
  FieldEnumTypeChanged: "FIELD_ENUM_TYPE_CHANGED",
  FieldTypeMoved: "FIELD_TYPE_MOVED",
  FieldStringLabelChanged: "FIELD_STRING_LABEL_CHANGED",
  FieldMessageLabelChanged: "FIELD_MESSAGE_LABEL_CHANGED",
  FieldPresenceChanged: "FIELD_PRESENCE_CHANGED",
  OneofAdded: "ONEOF_ADDED",
  OneofRemoved: "ONEOF_REMOVED",
  OneofRenamed: "ONEOF_RENAMED",
  OneofFieldAdded: "ONEOF_FIELD_ADDED",
  FieldMovedToNewOneof: "FIELD_MOVED_TO_NEW_ONEOF",
} as const;
export type DifferenceType = (typeof DifferenceType)[keyof typeof DifferenceType];

/**
 * Something that a reader's schema has otherwise than the writer's.
 *
 * Its place is where the thing is declared, not how a message gets there:
 *
 * - `#/` the file, for its package
 * - `#/Order`, `#/Order.Line` a message or an enum of the file, by its name relative to the package
 * - `#/Order.Line/2` a field or an enum's value by its number, `#/Order/payment` a oneof by its name
 * - `#/Order/7/key`, `#/Order/7/value` what a map field is made of
 * - `#/OrderCreated/1/shop.order.v1.Order/2` the same in another file, whose message has its full name: field 1 of
 *   `OrderCreated` leads there, at once or through others of that file
 */
export interface Difference {
  readonly type: DifferenceType;
  readonly path: string;
  /** The writer's side as a short text, `int32 quantity = 2`; undefined if it is not there. */
  readonly old: string | undefined;
  /** The reader's side. */
  readonly new: string | undefined;
  /** Whether the reader can read the writer's data all the same. */
  readonly compatible: boolean;
}

/** Whether a reader whose schema differs so can read what was written. */
export const isCompatible = {
  PACKAGE_CHANGED: false,
  // Or renamed, which is the same to whoever looks for it.
  MESSAGE_REMOVED: false,
  // A scalar or an enum, a message, a map: they are other bytes.
  FIELD_KIND_CHANGED: false,
  FIELD_SCALAR_KIND_CHANGED: false,
  FIELD_NAMED_TYPE_CHANGED: false,
  // A message with its length in front, or between marks (a group, `DELIMITED`).
  FIELD_ENCODING_CHANGED: false,
  // Confluent's registry lets it pass unless both labels are written out; then readers throw, or take the last value.
  FIELD_NUMERIC_LABEL_CHANGED: false,
  // What was written without it, or will be, is refused by whoever requires it.
  REQUIRED_FIELD_ADDED: false,
  REQUIRED_FIELD_REMOVED: false,
  // A reader takes a message that has this member for one that has none.
  ONEOF_FIELD_REMOVED: false,
  // What could be set together was; a reader keeps the last of it.
  MULTIPLE_FIELDS_MOVED_TO_ONEOF: false,
  FIELD_MOVED_TO_EXISTING_ONEOF: false,
  // Opt-in: see CheckOptions.
  FIELD_NUMBER_REUSED: false,
  FIELD_NAME_REUSED: false,
  // Nobody knows, which is no yes.
  SCHEMA_TOO_LARGE: false,

  MESSAGE_ADDED: true,
  // It has another place among those beside it, or is declared in another file.
  MESSAGE_MOVED: true,
  ENUM_ADDED: true,
  ENUM_REMOVED: true,
  ENUM_VALUE_ADDED: true,
  ENUM_VALUE_CHANGED: true,
  ENUM_VALUE_REMOVED: true,
  FIELD_ADDED: true,
  FIELD_REMOVED: true,
  FIELD_RENAMED: true,
  // Within its group: the bytes are the same.
  FIELD_SCALAR_TYPE_CHANGED: true,
  FIELD_ENUM_TYPE_CHANGED: true,
  // The type has the same name relative to another package.
  FIELD_TYPE_MOVED: true,
  // A reader that expects one takes the last.
  FIELD_STRING_LABEL_CHANGED: true,
  // A reader that expects one merges them.
  FIELD_MESSAGE_LABEL_CHANGED: true,
  FIELD_PRESENCE_CHANGED: true,
  ONEOF_ADDED: true,
  ONEOF_REMOVED: true,
  ONEOF_RENAMED: true,
  ONEOF_FIELD_ADDED: true,
  FIELD_MOVED_TO_NEW_ONEOF: true,
} as const satisfies Record<DifferenceType, boolean>;
