import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { relative, resolve } from "node:path";
import { promisify } from "node:util";
import { projectFolder } from "../../tools/nats_server.mjs";

type Environment = Readonly<Record<string, string | undefined>>;

/** There is nothing to run containers with; the message says what would help. */
export class NoEngineError extends Error {
  override name = "NoEngineError";
}

/** A Docker engine that answers. Disposed of, it is as it was found: stopped, if it was started for this. */
export interface Engine extends AsyncDisposable {
  /** With it, `docker` finds the engine. */
  readonly environment: Environment;
}

/** A program that starts an engine on a machine which has none and can pull no image. */
const DEFAULT_TOOL = "../shared/tools/docker_host";

/** What the tool makes in the place of images, by repository. It gives them other tags besides. */
const standIns: Readonly<Record<string, string>> = {
  node: "node:26-slim",
  nats: "nats:2.15-alpine",
  postgres: "postgres:17-alpine",
  "prom/prometheus": "prom/prometheus:latest",
};

/** `real=stand-in …` for those of `images` that have one. */
export function standInTags(images: readonly string[]): string {
  return images
    .flatMap((image) => {
      const standIn = standIns[image.slice(0, image.lastIndexOf(":"))];
      return standIn === undefined ? [] : [`${image}=${standIn}`];
    })
    .join(" ");
}

/**
 * The engine that answers `docker version`, or else one that `DOCKER_HOST_TOOL` (default `../shared/tools/docker_host`
 * beside this folder) starts, which takes some minutes for the first time.
 *
 * @param images What has to be there, if images cannot be pulled.
 * @throws {NoEngineError} If there is neither.
 */
export async function findEngine(
  images: readonly string[],
  { environment = process.env }: { environment?: Environment } = {},
): Promise<Engine> {
  if (await answers(environment)) return { environment, [Symbol.asyncDispose]: () => Promise.resolve() };
  const tool = resolve(projectFolder, environment.DOCKER_HOST_TOOL || DEFAULT_TOOL);
  if (!existsSync(tool)) {
    throw new NoEngineError(
      `Cannot run compose.yaml: no Docker engine answers, and there is no ${relative(projectFolder, tool)} that would ` +
        "start one. Start Docker, or set DOCKER_HOST_TOOL",
    );
  }
  const { stdout } = await promisify(execFile)(tool, ["env"], { env: environment });
  const host = /DOCKER_HOST=(\S+)/.exec(stdout)?.[1];
  if (host === undefined) throw new NoEngineError(`Cannot tell from "${stdout.trim()}" where the engine is`);
  const started = { ...environment, DOCKER_HOST: host };
  const wasUp = await answers(started);
  if (!wasUp) console.error("compose: no Docker engine answers; starting one, which may take some minutes");
  await toolRuns(tool, "up", { ...environment, TAGS: standInTags(images) });
  return {
    environment: started,
    async [Symbol.asyncDispose]() {
      if (!wasUp) await toolRuns(tool, "down", environment);
    },
  };
}

function answers(environment: Environment): Promise<boolean> {
  return new Promise((resolve) => {
    execFile("docker", ["version"], { env: environment }, (error) => resolve(error === null));
  });
}

function toolRuns(tool: string, command: string, environment: Environment): Promise<void> {
  return new Promise((resolve, reject) => {
    // Its output is for a person: what it says of success is noise, what it says of failure is on stderr.
    const child = spawn(tool, [command], { env: environment, stdio: ["ignore", "ignore", "inherit"] });
    child.on("error", reject);
    child.on("exit", (code) => {
      if (code === 0) resolve();
      else reject(new NoEngineError(`Cannot run compose.yaml: ${tool} ${command} failed (${code})`));
    });
  });
}
