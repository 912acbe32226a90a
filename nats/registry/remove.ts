import type { SchemaSubject, SchemaVersion } from "../../gen/shop/registry/v1/schema_subject_pb.ts";
import type { Decision } from "../task.ts";
import { subjectKey } from "./bucket.ts";
import { notPermitted, RegistryCode, RegistryError, subjectNotFound, versionNotFound } from "./errors.ts";
import { modeOf } from "./settings.ts";
import { changeReferrers, nothing, type RegistryView, type Unread, write } from "./view.ts";

export type Deleted =
  | { kind: "deleted"; versions: readonly number[] }
  | { kind: "refused"; error: RegistryError }
  | Unread;

/**
 * Deletes one version, or all. First softly: nothing is registered against it any more, and who asks for it still gets it.
 * Then for good (`permanent`). A version that others import stays.
 */
export function remove(
  view: RegistryView,
  subject: string,
  { version, permanent = false }: { version?: number | undefined; permanent?: boolean },
): Decision<Deleted> {
  const doc = view.get(subjectKey(subject));
  const chosen = doc?.versions.filter((it) => version === undefined || it.version === version) ?? [];
  const error = deletionRefusal(view, { subject, version, permanent, chosen, doc });
  if (doc === undefined || error !== undefined) {
    return nothing({ kind: "refused", error: error ?? subjectNotFound(subject) });
  }
  const affected = chosen.filter(({ deleted }) => deleted === permanent);
  const ids = affected.map(({ id }) => id).filter((id) => view.schema(id) === undefined);
  if (ids.length > 0) return nothing({ kind: "unread", ids, keys: [] });
  const references = permanent ? [] : affected.flatMap(({ id }) => view.schema(id)?.references ?? []);
  const keys = references.map((reference) => subjectKey(reference.subject));
  const unread = keys.filter((key) => !view.has(key));
  if (unread.length > 0) return nothing({ kind: "unread", ids: [], keys: unread });
  const gone = new Set(affected.map((it) => it.version));
  const versions = permanent
    ? doc.versions.filter((it) => !gone.has(it.version))
    : doc.versions.map((it) => (gone.has(it.version) ? { ...it, deleted: true } : it));
  const removedIds = permanent
    ? [...new Set([...doc.removedIds, ...affected.map(({ id }) => id)])]
    : doc.removedIds;
  const isMine = (it: { subject: string; version: number }) => it.subject === subject && gone.has(it.version);
  const changed = { ...doc, versions, removedIds };
  const docs = changeReferrers(view, { changed, references }, (list) => list.filter((it) => !isMine(it)));
  return { messages: docs.map(write), result: { kind: "deleted", versions: [...gone] } };
}

function deletionRefusal(
  view: RegistryView,
  asked: {
    subject: string;
    version: number | undefined;
    permanent: boolean;
    chosen: readonly SchemaVersion[];
    doc: SchemaSubject | undefined;
  },
): RegistryError | undefined {
  const { subject, version, permanent, chosen, doc } = asked;
  const name = JSON.stringify(subject);
  if (doc === undefined || doc.versions.length === 0) return subjectNotFound(subject);
  if (chosen.length === 0) return versionNotFound(version ?? 0);
  if (modeOf(view, subject) === "READONLY") return notPermitted(`Subject ${name} is in read-only mode`);
  const { SubjectSoftDeleted, SubjectNotSoftDeleted, VersionSoftDeleted, VersionNotSoftDeleted } =
    RegistryCode;
  const what = version === undefined ? `Subject ${name}` : `Subject ${name} Version ${version}`;
  if (!permanent && chosen.every(({ deleted }) => deleted)) {
    const code = version === undefined ? SubjectSoftDeleted : VersionSoftDeleted;
    return new RegistryError(code, `${what} was soft deleted. Set permanent=true to delete permanently`);
  }
  if (permanent && chosen.some(({ deleted }) => !deleted)) {
    const code = version === undefined ? SubjectNotSoftDeleted : VersionNotSoftDeleted;
    return new RegistryError(code, `${what} was not deleted first before being permanently deleted`);
  }
  const chosenVersions = new Set(chosen.map((it) => it.version));
  for (const it of chosen) {
    const others = it.referrers.filter((by) => by.subject !== subject || !chosenVersions.has(by.version));
    const [first] = others;
    if (first === undefined) continue;
    return new RegistryError(
      RegistryCode.ReferenceExists,
      `One or more references exist to ${name} version ${it.version}: ${JSON.stringify(first.subject)} version ${first.version}`,
    );
  }
  return undefined;
}
