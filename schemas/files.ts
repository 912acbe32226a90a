import type { DescFile, FileRegistry } from "@bufbuild/protobuf";

/** Files with all that they import. */
export type FileSet = FileRegistry;

/** What one `.proto` file can be imported as: `shop/order/v1/order.proto`. It leads nowhere else on a disk. */
export function isImportPath(path: string): boolean {
  return (
    path.length <= 255 && /^(?!\.{1,2}\/)[A-Za-z0-9_.-]+(\/(?!\.{1,2}\/)[A-Za-z0-9_.-]+)*\.proto$/.test(path)
  );
}

/** @throws {RangeError} If there is none of that name. */
export function fileOf(files: FileSet, path: string): DescFile {
  const file = files.getFile(path);
  if (file === undefined) throw new RangeError(`Cannot find ${path} among what was compiled`);
  return file;
}
