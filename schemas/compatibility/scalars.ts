import { ScalarType } from "@bufbuild/protobuf";

/** Scalars that one can be read as another of: the same bytes, whatever is made of them. */
export const scalarGroups = {
  [ScalarType.INT32]: "varint",
  [ScalarType.INT64]: "varint",
  [ScalarType.UINT32]: "varint",
  [ScalarType.UINT64]: "varint",
  [ScalarType.BOOL]: "varint",
  [ScalarType.SINT32]: "zigzag",
  [ScalarType.SINT64]: "zigzag",
  [ScalarType.STRING]: "text",
  [ScalarType.BYTES]: "text",
  [ScalarType.FIXED32]: "fixed32",
  [ScalarType.SFIXED32]: "fixed32",
  [ScalarType.FIXED64]: "fixed64",
  [ScalarType.SFIXED64]: "fixed64",
  [ScalarType.FLOAT]: "float",
  [ScalarType.DOUBLE]: "double",
} as const satisfies Record<ScalarType, string>;

/** An enum is a number on the wire. */
export const enumGroup = "varint";
