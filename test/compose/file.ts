import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { projectFolder } from "../../tools/nats_server.mjs";

/** What the tests look at of a container in compose.yaml, with its anchors resolved and its variables as they are written. */
export interface Container {
  readonly image: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly profiles?: readonly string[];
  readonly environment?: Readonly<Record<string, string | null>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly mem_limit?: string;
  readonly restart?: string;
  readonly stop_grace_period?: string;
}

export const composeFile = join(projectFolder, "compose.yaml");

export function readContainers(): Readonly<Record<string, Container>> {
  return parse(readFileSync(composeFile, "utf8"), { merge: true }).services;
}

/** The image of the Dockerfile's last stage, with its tag. */
export function baseImage(): string {
  const text = readFileSync(join(projectFolder, "Dockerfile"), "utf8");
  return [...text.matchAll(/^FROM (\S+)/gm)].at(-1)?.[1] ?? "";
}

/** Every image that is pulled for `docker compose up` without profiles. */
export function pulledImages(): string[] {
  const containers = Object.values(readContainers());
  const pulled = containers.filter(({ image, profiles }) => !image.startsWith("$") && profiles === undefined);
  return [baseImage(), ...pulled.map(({ image }) => image)];
}

/** Variables by which compose.yaml publishes ports. */
export function portVariables(): string[] {
  const ports = Object.values(readContainers()).flatMap(({ ports = [] }) => ports);
  return ports.flatMap((text) => /\$\{(\w+):-/.exec(text)?.[1] ?? []);
}
