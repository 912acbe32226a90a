import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { freePorts } from "../support/ports.ts";
import type { Engine } from "./engine.ts";
import { composeFile, portVariables } from "./file.ts";

/** What compose.yaml describes, under a name and on ports of its own, so that it meets nothing that runs already. */
export interface Stack extends AsyncDisposable {
  /** Base URL of what is published through the variable, `ORDER_PORT` for example. */
  url(portVariable: string): string;
  /** Runs `docker compose` and shows what it says only if it fails. Resolves to its output. */
  compose(...args: string[]): Promise<string>;
  docker(...args: string[]): Promise<string>;
}

/** The build, images that are pulled, and ten services on two cores. */
const UP_TIMEOUT_S = 300;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/**
 * Builds, starts, and waits until everything is healthy. Disposed of, it leaves nothing behind.
 * @throws {Error} If that does not succeed, or `signal` says that nobody waits any more. Then too nothing is left.
 */
export async function startStack(engine: Engine, { signal }: { signal: AbortSignal }): Promise<Stack> {
  const project = `jetstream-checkout-smoke-${process.pid}`;
  const image = `jetstream-checkout:smoke-${process.pid}`;
  const variables = portVariables();
  const numbers = await freePorts(variables.length);
  const ports = Object.fromEntries(variables.map((variable, i) => [variable, `${numbers[i]}`]));
  const env = { ...engine.environment, ...ports, SHOP_IMAGE: image };
  const docker = async (...args: string[]) => {
    const { stdout } = await promisify(execFile)("docker", args, { env, maxBuffer: MAX_OUTPUT_BYTES });
    return stdout;
  };
  // An .env of the person at the keyboard is not what is tested.
  const flags = ["compose", "--project-name", project, "--file", composeFile, "--env-file", "/dev/null"];
  const compose = (...args: string[]) => docker(...flags, ...args);
  const stack: Stack = {
    url: (variable) => `http://127.0.0.1:${ports[variable]}`,
    compose,
    docker,
    async [Symbol.asyncDispose]() {
      await compose("down", "--volumes", "--remove-orphans", "--timeout", "30");
      await docker("image", "rm", "--force", image);
    },
  };
  try {
    const up = [...flags, "up", "--detach", "--wait", "--wait-timeout", `${UP_TIMEOUT_S}`];
    await promisify(execFile)("docker", up, { env, signal, maxBuffer: MAX_OUTPUT_BYTES });
  } catch (cause) {
    // To the terminal as they come: they may be long.
    if (!signal.aborted) await logs([...flags, "logs", "--tail", "50"], env);
    await stack[Symbol.asyncDispose]();
    throw cause;
  }
  return stack;
}

function logs(args: string[], env: Engine["environment"]): Promise<void> {
  return new Promise((resolve) => {
    spawn("docker", args, { env, stdio: ["ignore", 2, 2] }).on("close", () => resolve());
  });
}
