import { expect, test } from "vitest";
import { countSyncs } from "./syncs.ts";

const trace = `
812   1700000000.100000 fsync(7) = 0
813   1700000000.200000 fdatasync(7 <unfinished ...>
812   1700000000.250000 openat(AT_FDCWD, ""..., O_RDONLY|O_CLOEXEC) = 9
813   1700000000.300000 <... fdatasync resumed>) = 0
814   1700000000.400000 openat(AT_FDCWD, ""..., O_WRONLY|O_CREAT|O_TRUNC|O_SYNC|O_CLOEXEC, 0640) = 9
812   1700000001.500000 fsync(7) = 0
`;

test("countSyncs() counts each call once, and files that sync each write", () => {
  expect(countSyncs(trace, { from: 1_700_000_000, to: 1_700_000_001 })).toBe(3);
});

test("countSyncs() counts what begins within the window", () => {
  expect(countSyncs(trace, { from: 1_700_000_000.2, to: 1_700_000_000.4 })).toBe(1);
});
