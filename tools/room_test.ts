import { expect, test } from "vitest";
import { mountSmallDisk } from "../test/support/small_disk.ts";
import { lackOfRoom } from "./room.ts";
import { scratchFolder } from "./testdata/scratch.ts";

test("lackOfRoom() is content with a disk that has room, and says how much a full one lacks", () => {
  using folder = scratchFolder();
  expect(lackOfRoom(folder.path)).toBeUndefined();
  using disk = mountSmallDisk(folder.path, { bytes: 40 * 2 ** 20 });
  expect(lackOfRoom(folder.path)).toBeUndefined();
  disk.fill();
  expect(lackOfRoom(folder.path)).toBe(`${folder.path} has 0 MiB free and needs 32; make room`);
  disk.clear();
  expect(lackOfRoom(folder.path, { besidesMiB: 32 })).toBe(
    `${folder.path} has 40 MiB free and needs 64; make room`,
  );
  expect(lackOfRoom(folder.path)).toBeUndefined();
});
