import { join } from "node:path";
import { connectObserver, run, serveHttp } from "../../lib/mod.ts";
import { makeFolder, SchemaStore } from "../../nats/mod.ts";
import { MAX_REGISTRY_BODY_BYTES, routes } from "./app.ts";
import { Compiler } from "./compiler.ts";
import { readRegistryConfig } from "./config.ts";
import { RegistryData } from "./data.ts";
import { Mirror } from "./mirror.ts";

await run("registry", async (life) => {
  const config = readRegistryConfig();
  const service = await connectObserver("registry", { config, ...life });
  const { connection, log } = service;
  if (config.REGISTRY_TOKEN === undefined) {
    log.warn("REGISTRY_TOKEN is not set: whoever reaches this port may change schemas and their settings");
  }
  const folder = join(config.DATA_DIR, "registry");
  makeFolder(folder);
  const registry = {
    store: life.stack.use(new SchemaStore(connection, { source: "/services/registry", log })),
    mirror: new Mirror(connection),
    compiler: new Compiler(folder),
    registryToken: config.REGISTRY_TOKEN,
    operatorToken: config.OPERATOR_TOKEN,
  };
  const stopping = new AbortController();
  life.stack.defer(() => stopping.abort());
  const data = new RegistryData(service);
  service.checks.schemas = () => data.whole;
  void data.watch(stopping.signal);
  const { REGISTRY_PORT: port } = config;
  const maxBodyBytes = MAX_REGISTRY_BODY_BYTES;
  await serveHttp(service, { port, portVariable: "REGISTRY_PORT", maxBodyBytes }, (app) =>
    routes(app, registry),
  );
});
