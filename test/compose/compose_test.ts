import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { servicesOf, topology } from "../../nats/mod.ts";
import { serviceNamed } from "../../services/command.ts";
import { nodeArguments, type Service, services } from "../../services/mod.ts";
import { projectFolder, releaseVersion } from "../../tools/nats_server.mjs";
import { findEngine, NoEngineError, standInTags } from "./engine.ts";
import { baseImage, type Container, pulledImages, readContainers } from "./file.ts";

const containers = readContainers();
const jobs = new Set(["credentials", "topology"]);
const ofServices = new Set(services.map(({ name }) => name));

function containerOf(service: Service): Container {
  const container = containers[service.name];
  if (container === undefined)
    throw new Error(`compose.yaml lacks ${service.name}: copy another service's lines`);
  return container;
}

function text(...path: string[]): string {
  return readFileSync(join(projectFolder, ...path), "utf8");
}

describe("compose.yaml", () => {
  describe.each(services)("runs $name", (service) => {
    const { name, port, portVariable, writes, secrets = [] } = service;

    it("by its name, from the one image, once the topology is applied", () => {
      const { command, image, depends_on } = containerOf(service);
      expect(command).toEqual([name]);
      expect(image).toBe(containers.credentials?.image);
      expect(depends_on?.topology?.condition).toBe("service_completed_successfully");
    });

    it("on its port, on loopback", () => {
      expect(containerOf(service).ports).toEqual([`127.0.0.1:\${${portVariable}:-${port}}:${port}`]);
    });

    it("with its own credential and the folders that it may write", () => {
      const { volumes = [], tmpfs = [] } = containerOf(service);
      const folders = [...volumes.slice(1), ...tmpfs].map((mount) => /\/data\/\w+/.exec(mount)?.[0]);
      expect(volumes[0]).toBe(`${name}-credential:/credential:ro`);
      expect(folders).toEqual(writes.map((folder) => `/data/${folder}`));
    });

    it("with its own secrets and no other's", () => {
      const all = services.flatMap((other) => other.secrets ?? []);
      const given = Object.keys(containerOf(service).environment ?? {});
      expect(given.filter((variable) => all.includes(variable))).toEqual(secrets);
    });

    it("and asks whether it is ready", () => {
      expect(containerOf(service).healthcheck?.test).toEqual([
        "CMD",
        "node",
        "services/health_check.ts",
        name,
      ]);
    });
  });

  it.each(Object.entries(containers))("takes from %s what it does not need", (name, container) => {
    expect(container.cap_drop).toEqual(["ALL"]);
    expect(container.security_opt).toEqual(["no-new-privileges:true"]);
    expect(container.read_only).toBe(true);
    expect(container.mem_limit).toMatch(/^\d+[mg]$/);
    expect(container.restart).toBe(jobs.has(name) ? "no" : "unless-stopped");
    for (const port of container.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+$/);
    if (!jobs.has(name) && container.profiles === undefined) expect(container.healthcheck).toBeDefined();
  });

  it("lets order see how full a disk is by a volume of its own", () => {
    const { environment, volumes } = containerOf(serviceNamed("order"));
    const [, folder] = /^\$\{STORE_DISK:-(.+)\}$/.exec(environment?.STORE_DISK ?? "") ?? [];
    expect(volumes).toContain(`order-credential:${folder}:ro`);
  });

  it("checks nats by a script that is mounted, and the store and process of its container", () => {
    const { healthcheck, volumes, environment } = containers.nats ?? {};
    const [, , script, host, port, store, pid] = healthcheck?.test ?? [];
    expect(volumes).toContain(`./deploy/nats/health_check.sh:${script}:ro`);
    expect([host, port, store]).toEqual([
      "127.0.0.1",
      environment?.NATS_MONITOR_PORT,
      environment?.NATS_STORE_DIR,
    ]);
    expect(pid).toBe("1");
  });

  it("names every image by a whole version, those that the project has elsewhere too by the same", () => {
    const shop = containers.credentials?.image;
    const images = Object.values(containers).flatMap(({ image }) => (image === shop ? [] : [image]));
    for (const image of [baseImage(), ...images])
      expect(image).toMatch(/^[\w./-]+:v?\d+\.\d+(\.\d+)?(-\w+)?$/);
    const { version, dependencies } = JSON.parse(text("package.json"));
    expect(baseImage()).toBe(`node:${dependencies.node}-slim`);
    expect(containers.nats?.image).toBe(`nats:${releaseVersion}-alpine`);
    expect(shop).toBe(`\${SHOP_IMAGE:-jetstream-checkout:${version}}`);
  });

  it("gives each credential a volume that nobody but its owner and the job that makes it mounts", () => {
    const mounts = (name: string) =>
      Object.entries(containers).flatMap(([container, { volumes = [] }]) =>
        volumes.some((volume) => volume.startsWith(`${name}-credential:`)) ? [container] : [],
      );
    for (const name of servicesOf(topology)) expect(mounts(name)).toEqual(["credentials", name]);
    expect(mounts("operator")).toEqual(["credentials", "topology"]);
  });
});

describe("Dockerfile", () => {
  it("copies all that a service may read, and .dockerignore lets it pass", () => {
    const copied = [...text("Dockerfile").matchAll(/^COPY .*?(\S+)$/gm)].map(([, to]) =>
      to?.replace("./", ""),
    );
    const sent = text(".dockerignore").split("\n");
    for (const service of services) {
      const reads = nodeArguments(service, { root: "/app", dataDir: "/data" }).flatMap(
        (argument) => /^--allow-fs-read=\/app\/(.*)$/.exec(argument)?.[1] ?? [],
      );
      expect(reads).not.toHaveLength(0);
      for (const path of reads) {
        if (path === "package.json") expect(text("Dockerfile")).toMatch(/^COPY package.json/m);
        else expect(copied).toContain(path);
        if (path !== "node_modules") expect(sent).toContain(`!${path}`);
      }
    }
  });

  it("makes the folders that volumes are mounted over", () => {
    for (const folder of services.flatMap(({ writes }) => writes)) {
      expect(text("Dockerfile")).toContain(` data/${folder} `);
    }
  });
});

describe("prometheus.yml", () => {
  it("scrapes every service", () => {
    const targets = [...text("deploy/prometheus/prometheus.yml").matchAll(/targets: \[(\w+):(\d+)\]/g)];
    const asked = targets.flatMap(([, name = "", port]) => (ofServices.has(name) ? [`${name}:${port}`] : []));
    expect(asked).toEqual(services.map(({ name, port }) => `${name}:${port}`));
  });
});

describe("findEngine()", () => {
  it("says what would help where there is no engine and nothing to start one", async () => {
    const environment = { PATH: "", DOCKER_HOST_TOOL: "no/such/tool" };
    await expect(findEngine([], { environment })).rejects.toThrow(NoEngineError);
    await expect(findEngine([], { environment })).rejects.toThrow(
      "no Docker engine answers, and there is no no/such/tool",
    );
  });
});

describe("standInTags()", () => {
  it("has one for every image of a run without profiles", () => {
    expect(standInTags(pulledImages()).split(" ")).toHaveLength(pulledImages().length);
  });
});
