import { z } from "zod";
import { oneOf } from "../../lib/mod.ts";
import { MAX_ID, subjectModes } from "../../nats/mod.ts";
import { modes } from "../../schemas/mod.ts";
import { type CodeName, count, flag, operation } from "./operation.ts";

const MAX_INT = 2_147_483_647;

const Subject = z
  .string()
  .meta({ description: "In percent-encoding; `:.:name` is a name in the default context, the only one" });
const Version = z.string().meta({ description: "A number, `latest` or -1" });
const Id = z.int().meta({ description: "Of the schema, the same in every subject" });
const Guid = z.string().meta({ description: "Of the schema: a hash of it and its references" });

const Reference = z.object({
  name: z.string().meta({ description: "The path that it is imported as" }),
  subject: z.string(),
  version: z.int().min(-1).max(MAX_INT),
});

const Absent = z.null().optional();

/** What clients send. Fields that are unknown are left alone, as everywhere in this interface. */
export const SchemaBody = z
  .object({
    schema: z.string().meta({ description: ".proto text, or a FileDescriptorProto in base64" }),
    schemaType: z.string().nullish().meta({ description: "PROTOBUF, which it is unless told" }),
    references: z.array(Reference).nullish(),
    id: z.int().min(-1).max(MAX_ID).nullish(),
    version: z.int().min(-1).max(MAX_INT).nullish(),
    /** Rules that clients would carry out on data. There are none here, and to drop them would be to break a promise. */
    ruleSet: Absent,
  })
  .meta({ id: "SchemaBody" });

const upper = z.string().transform((text) => text.toUpperCase());
const Level = upper.pipe(z.enum(modes)).meta({ enum: [...modes], description: "In any case" });
const Mode = upper.pipe(z.enum(subjectModes)).meta({ enum: [...subjectModes], description: "In any case" });
const LevelBody = z
  .object({ compatibility: Level.nullish(), normalize: z.boolean().nullish() })
  .refine(({ compatibility, normalize }) => (compatibility ?? normalize ?? undefined) !== undefined, {
    message: 'send "compatibility" or "normalize"',
  })
  .meta({ id: "LevelBody" });
const ModeBody = z.object({ mode: Mode }).meta({ id: "ModeBody" });

const schema = {
  guid: Guid,
  schemaType: z.literal("PROTOBUF"),
  schema: z.string(),
  references: z.array(Reference).optional(),
};
const SubjectVersion = z
  .object({ subject: z.string(), id: Id, version: z.int(), ...schema })
  .meta({ id: "SubjectVersion" });
const Verdict = z
  .object({
    is_compatible: z.boolean(),
    messages: z.array(z.string()).optional().meta({ description: "With `verbose`" }),
    differences: z
      .array(
        z.object({
          type: z.string(),
          path: z.string(),
          old: z.string().nullable(),
          new: z.string().nullable(),
          version: z.int(),
          direction: oneOf(["backward", "forward"]),
        }),
      )
      .optional()
      .meta({ description: "With `verbose`: the same for programs" }),
  })
  .meta({ id: "Verdict" });
const LevelSetting = z
  .object({ compatibilityLevel: oneOf(modes).optional(), normalize: z.boolean().optional() })
  .meta({ id: "LevelSetting" });
const LevelChange = z
  .object({ compatibility: oneOf(modes).optional(), normalize: z.boolean().optional() })
  .meta({ id: "LevelChange" });
const ModeSetting = z.object({ mode: oneOf(subjectModes) }).meta({ id: "ModeSetting" });

const format = z.string().optional().meta({ description: "`serialized`: a FileDescriptorProto in base64" });
const deleted = flag("Also what is softly deleted");
const deletedOnly = flag("Only what is softly deleted");
const normalize = flag("Compare and store it in its normal form");
const defaultToGlobal = flag("Where the subject has none of its own, what holds for all");
const ofSubject = { subject: Subject };
const ofVersion = { subject: Subject, version: Version };
const lookUp: CodeName[] = ["SubjectNotFound", "VersionNotFound", "InvalidVersion", "InvalidSubject"];

export const getRoot = operation({ id: "getRoot", summary: "Nothing" }, { answer: z.object({}) });
export const listContexts = operation(
  { id: "listContexts", summary: "The default context, the only one" },
  { answer: z.array(z.string()) },
);
export const listAssociations = operation(
  {
    id: "listAssociations",
    summary: "Subjects that are tied to a topic: none",
    path: { topic: z.string() },
  },
  { answer: z.array(z.never()) },
);

export const listSubjects = operation(
  {
    id: "listSubjects",
    summary: "All subjects",
    query: {
      subjectPrefix: z.string().optional(),
      deleted,
      deletedOnly,
      offset: count("0 unless told"),
      limit: count("All unless told"),
    },
  },
  { answer: z.array(z.string()) },
);
export const lookUpSchema = operation(
  {
    id: "lookUpSchema",
    summary: "The version under which a subject has a schema",
    path: ofSubject,
    query: { deleted, normalize, format },
    body: SchemaBody,
  },
  {
    answer: SubjectVersion,
    codes: ["SubjectNotFound", "SchemaNotFound", "InvalidSchema", "InvalidSubject"],
    role: "registrant",
  },
);
const permanent = flag("For good; only what is softly deleted");
export const deleteSubject = operation(
  { id: "deleteSubject", summary: "Deletes a subject", path: ofSubject, query: { permanent } },
  {
    answer: z.array(z.int()).meta({ description: "The versions that were deleted" }),
    codes: [
      "SubjectNotFound",
      "VersionNotFound",
      "SubjectSoftDeleted",
      "SubjectNotSoftDeleted",
      "NotPermitted",
      "ReferenceExists",
      "InvalidSubject",
    ],
    role: "operator",
  },
);
export const listVersions = operation(
  {
    id: "listVersions",
    summary: "The versions of a subject",
    path: ofSubject,
    query: { deleted, deletedOnly },
  },
  { answer: z.array(z.int()), codes: ["SubjectNotFound", "InvalidSubject"] },
);
export const registerSchema = operation(
  {
    id: "registerSchema",
    summary: "Registers a schema under a subject, once, however often it is sent",
    path: ofSubject,
    query: { normalize },
    body: SchemaBody,
  },
  {
    answer: z.object({ id: Id, version: z.int(), guid: Guid }),
    codes: ["Incompatible", "InvalidSchema", "NotPermitted", "IdMismatch", "InvalidSubject"],
    role: "registrant",
  },
);
export const getVersion = operation(
  {
    id: "getVersion",
    summary: "A version of a subject",
    path: ofVersion,
    query: { deleted, format },
  },
  { answer: SubjectVersion, codes: lookUp },
);
export const getVersionText = operation(
  {
    id: "getVersionText",
    summary: "The schema's text",
    path: ofVersion,
    query: { deleted, format },
  },
  { answer: "text", codes: lookUp },
);
export const listReferrers = operation(
  {
    id: "listReferrers",
    summary: "Ids of the schemas that import a version",
    path: ofVersion,
    query: { deleted },
  },
  { answer: z.array(Id), codes: lookUp },
);
export const deleteVersion = operation(
  {
    id: "deleteVersion",
    summary: "Deletes a version",
    path: ofVersion,
    query: { permanent },
  },
  {
    answer: z.int().meta({ description: "The version" }),
    codes: [...lookUp, "VersionSoftDeleted", "VersionNotSoftDeleted", "NotPermitted", "ReferenceExists"],
    role: "operator",
  },
);

const byId = { id: z.string().meta({ description: "A schema's id" }) };
const byGuid = { guid: z.string() };
const unknown: CodeName[] = ["SchemaNotFound"];
export const listTypes = operation(
  { id: "listTypes", summary: "Kinds of schemas that it holds" },
  { answer: z.array(z.literal("PROTOBUF")) },
);
export const getSchema = operation(
  {
    id: "getSchema",
    summary: "The schema under an id",
    path: byId,
    query: {
      subject: z.string().optional().meta({ description: "Looked at for its form alone" }),
      fetchMaxId: flag("Answer with the largest id, too"),
      format,
    },
  },
  { answer: z.object({ ...schema, maxId: Id.optional() }), codes: [...unknown, "InvalidSubject"] },
);
export const getSchemaText = operation(
  { id: "getSchemaText", summary: "The text of the schema under an id", path: byId, query: { format } },
  { answer: "text", codes: unknown },
);
export const listSubjectsOfSchema = operation(
  {
    id: "listSubjectsOfSchema",
    summary: "The subjects that have a schema",
    path: byId,
    query: { deleted },
  },
  { answer: z.array(z.string()), codes: unknown },
);
export const listVersionsOfSchema = operation(
  {
    id: "listVersionsOfSchema",
    summary: "The subjects and versions that have a schema",
    path: byId,
    query: { deleted },
  },
  { answer: z.array(z.object({ subject: z.string(), version: z.int() })), codes: unknown },
);
export const getSchemaByGuid = operation(
  { id: "getSchemaByGuid", summary: "The schema under a guid", path: byGuid, query: { format } },
  { answer: z.object(schema), codes: unknown },
);
export const listIdsOfGuid = operation(
  { id: "listIdsOfGuid", summary: "The id of the schema under a guid", path: byGuid },
  { answer: z.array(z.object({ context: z.literal("."), id: Id })), codes: unknown },
);

const verbose = flag("Answer with what differs, too");
export const checkAll = operation(
  {
    id: "checkAll",
    summary: "What registering a schema would say, without registering",
    path: ofSubject,
    query: { normalize, verbose },
    body: SchemaBody,
  },
  { answer: Verdict, codes: ["InvalidSchema", "InvalidSubject"], role: "registrant" },
);
export const checkOne = operation(
  {
    id: "checkOne",
    summary: "Whether a schema is compatible with one version",
    path: ofVersion,
    query: { normalize, verbose },
    body: SchemaBody,
  },
  {
    answer: Verdict,
    codes: ["VersionNotFound", "InvalidSchema", "InvalidVersion", "InvalidSubject"],
    role: "registrant",
  },
);

/** `/config` and `/mode` of the registry as a whole, and those of a subject. */
function settings(scope: "Global" | "Subject") {
  const of = scope === "Global" ? "of all subjects that have none of their own" : "of a subject";
  const path = scope === "Global" ? {} : { path: ofSubject };
  const query = scope === "Global" ? {} : { defaultToGlobal };
  const codes: CodeName[] = scope === "Global" ? [] : ["InvalidSubject"];
  const level: CodeName[] = scope === "Global" ? [] : [...codes, "NoSubjectConfig"];
  const mode: CodeName[] = scope === "Global" ? [] : [...codes, "NoSubjectMode"];
  const force = flag("Import into what has versions already");
  return {
    getLevel: operation(
      { id: `get${scope}Level`, summary: `The compatibility level ${of}`, ...path, query },
      { answer: LevelSetting, codes: level },
    ),
    putLevel: operation(
      { id: `put${scope}Level`, summary: `Sets the compatibility level ${of}`, ...path, body: LevelBody },
      { answer: LevelChange, codes: [...codes, "InvalidLevel"], role: "operator" },
    ),
    deleteLevel: operation(
      { id: `delete${scope}Level`, summary: `Unsets the compatibility level ${of}`, ...path, query },
      { answer: LevelSetting, codes: level, role: "operator" },
    ),
    getMode: operation(
      { id: `get${scope}Mode`, summary: `The mode ${of}`, ...path, query },
      { answer: ModeSetting, codes: mode },
    ),
    putMode: operation(
      { id: `put${scope}Mode`, summary: `Sets the mode ${of}`, ...path, query: { force }, body: ModeBody },
      { answer: ModeSetting, codes: [...codes, "InvalidMode", "NotPermitted"], role: "operator" },
    ),
    deleteMode: operation(
      { id: `delete${scope}Mode`, summary: `Unsets the mode ${of}`, ...path, query },
      { answer: ModeSetting, codes: mode, role: "operator" },
    ),
  };
}

export const globalSettings = settings("Global");
export const subjectSettings = settings("Subject");
