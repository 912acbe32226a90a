import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { debianSources } from "./fetch_debian.mjs";
import { fetchRelease } from "./fetch_release.mjs";
import { versionOf } from "./nats_server.mjs";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "fetch-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const arch = process.arch === "arm64" ? "arm64" : "amd64";
const name = `nats-server-v9.9.9-${process.platform}-${arch}`;

/** Files of a release, by name: an archive with a stand-in for nats-server, and its checksum. */
function makeRelease(): Record<string, Buffer> {
  const source = join(folder, "source");
  mkdirSync(join(source, name), { recursive: true });
  const binary = join(source, name, "nats-server");
  writeFileSync(binary, '#!/bin/sh\necho "nats-server: v9.9.9"\n');
  chmodSync(binary, 0o755);
  spawnSync("tar", ["-czf", `${name}.tar.gz`, name], { cwd: source });
  const archive = readFileSync(join(source, `${name}.tar.gz`));
  const sum = createHash("sha256").update(archive).digest("hex");
  return {
    [`${name}.tar.gz`]: archive,
    SHA256SUMS: Buffer.from(`${"0".repeat(64)}  other.zip\n${sum}  ${name}.tar.gz\n`),
  };
}

async function publish(files: Record<string, Buffer>) {
  const server = createServer((request, response) => {
    const body = files[request.url?.replace("/v9.9.9/", "") ?? ""];
    response.statusCode = body ? 200 : 404;
    response.end(body);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { base, [Symbol.dispose]: () => server.close().closeAllConnections() };
}

test("fetchRelease() unpacks an archive that has its published checksum", async () => {
  using site = await publish(makeRelease());
  const path = await fetchRelease(folder, "9.9.9", { base: site.base });
  expect(versionOf(path)).toBe("9.9.9");
});

test("fetchRelease() takes another program's release, by its own names", async () => {
  const { [`${name}.tar.gz`]: archive = Buffer.from(""), SHA256SUMS = Buffer.from("") } = makeRelease();
  using site = await publish({ [`${name}.tar.gz`]: archive, "sha256sums.txt": SHA256SUMS });
  const asked: string[] = [];
  const nameFor = (platform: string) => {
    asked.push(platform);
    return name;
  };
  const options = { base: site.base, nameFor, sumsFile: "sha256sums.txt", binary: "nats-server" };
  expect(versionOf(await fetchRelease(folder, "9.9.9", options))).toBe("9.9.9");
  expect(asked).toEqual([`${process.platform}-${arch}`]);
});

test("fetchRelease() refuses an archive that has another checksum", async () => {
  const files = makeRelease();
  using site = await publish({ ...files, [`${name}.tar.gz`]: Buffer.from("something else") });
  await expect(fetchRelease(folder, "9.9.9", { base: site.base })).rejects.toThrow(
    /has checksum .*, published is/,
  );
});

test("fetchRelease() refuses an archive whose checksum is not published", async () => {
  using site = await publish({ ...makeRelease(), SHA256SUMS: Buffer.from("") });
  await expect(fetchRelease(folder, "9.9.9", { base: site.base })).rejects.toThrow("do not list");
});

test("fetchRelease() says what the site answers", async () => {
  using site = await publish({});
  await expect(fetchRelease(folder, "9.9.9", { base: site.base })).rejects.toThrow("SHA256SUMS answers 404");
});

const deb822 = `
Types: deb deb-src
# mirror of the month
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/debian.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://vendor.example/apt
Suites: nodistro
Components: main

Types: deb
URIs: https://off.example/debian
Suites: bookworm
Components: main
Enabled: no
`;

test("debianSources() turns the machine's own Debian source to testing, and no other", () => {
  expect(
    debianSources([{ name: "debian.sources", text: deb822 }], { codename: "bookworm", suite: "testing" }),
  ).toEqual([
    "types: deb\nuris: http://mirror.example/debian\nsuites: testing\ncomponents: main\nsigned-by: /keys/debian.gpg\n",
  ]);
});

test("debianSources() keeps a key that stands in the source itself", () => {
  const text =
    "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\nSigned-By:\n KEY\n .\n KEY\n";
  expect(debianSources([{ name: "a.sources", text }], { codename: "trixie", suite: "testing" })[0]).toContain(
    "signed-by: \n KEY\n .\n KEY\n",
  );
});

test("debianSources() reads the classic format, Debian's archive first", () => {
  const text = `
# deb http://commented.example/debian bookworm main
deb https://vendor.example/tools bookworm main
deb [arch=amd64,arm64 signed-by=/keys/debian.gpg] http://mirror.example/debian/ bookworm main contrib # ours
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
`;
  expect(
    debianSources([{ name: "/etc/apt/sources.list", text }], { codename: "bookworm", suite: "testing" }),
  ).toEqual([
    "types: deb\nuris: http://mirror.example/debian/\nsuites: testing\ncomponents: main\n" +
      "architectures: amd64 arm64\nsigned-by: /keys/debian.gpg\n",
    "types: deb\nuris: https://vendor.example/tools\nsuites: testing\ncomponents: main\n",
  ]);
});
