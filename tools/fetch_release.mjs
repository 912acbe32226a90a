// Fetches an official release archive, nats-server's if nothing else is said. Plain JavaScript for the same reason as nats_server.mjs. Types and
// contracts: fetch_release.d.mts.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const releases = "https://github.com/nats-io/nats-server/releases/download";
const systems = { linux: "linux", darwin: "darwin" };
const architectures = { x64: "amd64", arm64: "arm64" };

/** Many machines cannot reach the outside, and some swallow packets instead of refusing them. */
const answerWithinMs = 5_000;
/** The archives have 7 MB, nats-server's, and 110 MB, Prometheus'. */
const downloadWithinMs = 180_000;

export async function fetchRelease(folder, version, options = {}) {
  const { base = releases, sumsFile = "SHA256SUMS", binary = "nats-server" } = options;
  const { nameFor = (platform) => `nats-server-v${version}-${platform}` } = options;
  const system = systems[process.platform];
  const architecture = architectures[process.arch];
  if (!system || !architecture) throw new Error(`there is none for ${process.platform} on ${process.arch}`);

  const name = nameFor(`${system}-${architecture}`);
  const archive = `${name}.tar.gz`;
  const sums = (await download(`${base}/v${version}/${sumsFile}`)).toString("utf8");
  const expected = checksumOf(archive, sums);
  const bytes = await download(`${base}/v${version}/${archive}`);
  const actual = createHash("sha256").update(bytes).digest("hex");
  if (actual !== expected) throw new Error(`${archive} has checksum ${actual}, published is ${expected}`);

  writeFileSync(join(folder, archive), bytes);
  const tar = spawnSync("tar", ["-xzf", archive], { cwd: folder, encoding: "utf8" });
  if (tar.status !== 0) throw new Error(`tar cannot unpack ${archive}: ${tar.error ?? tar.stderr.trim()}`);
  return join(folder, name, binary);
}

/** `sums` has lines of `<sha256> <file>`, as sha256sum writes them. */
function checksumOf(file, sums) {
  for (const line of sums.split("\n")) {
    const [sum, name] = line.trim().split(/\s+\*?/);
    if (name === file && /^[0-9a-f]{64}$/.test(sum)) return sum;
  }
  throw new Error(`the published checksums do not list ${file}`);
}

async function download(url) {
  const controller = new AbortController();
  let timer = setTimeout(() => controller.abort(), answerWithinMs);
  try {
    const response = await fetch(url, { signal: controller.signal });
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(), downloadWithinMs);
    if (!response.ok) throw new Error(`${url} answers ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    if (controller.signal.aborted) throw new Error(`${url} does not answer in time`);
    if (error.cause)
      throw new Error(`cannot reach ${new URL(url).host}: ${error.cause.message || error.cause.code}`);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
