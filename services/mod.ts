/** One process of the shop, as `npm start`, the tests and the images run it. */
export interface Service {
  /** Folder under `services/`, and the name in logs, metrics and credentials. */
  readonly name: string;
  /** Port of its HTTP interface unless `portVariable` says otherwise. */
  readonly port: number;
  readonly portVariable: string;
  /** Folders below `DATA_DIR` that it may write. All else on the disk is read-only or out of reach to it. */
  readonly writes: readonly string[];
  /** Whether it only looks on: no order waits for it, and the shop opens without it. Default: orders need it. */
  readonly looksOn?: boolean;
  /** Whether it watches how full the disk of the store is, by `STORE_DISK`. Default: it does not. */
  readonly watchesDisk?: boolean;
  /** Whether it starts programs: the compiler of schemas. Default: it may not. */
  readonly spawns?: boolean;
  /** Whether it has threads: a database of its own. Default: it may not. */
  readonly threads?: boolean;
  /** How far `npm start` lets others go before it where there are too few cores: Unix's, up to 19. Default 0. */
  readonly niceness?: number;
  /** Variables with secrets that this service reads, and that no other one is given. */
  readonly secrets?: readonly string[];
}

/** Every service: what orders need, in the order in which one first meets them, and then what looks on. */
export const services: readonly Service[] = [
  { name: "order", port: 8080, portVariable: "ORDER_PORT", writes: [], watchesDisk: true },
  { name: "coordinator", port: 8088, portVariable: "COORDINATOR_PORT", writes: [] },
  { name: "inventory", port: 8082, portVariable: "INVENTORY_PORT", writes: [] },
  { name: "payment", port: 8083, portVariable: "PAYMENT_PORT", writes: [], secrets: ["STRIPE_SECRET_KEY"] },
  { name: "fraud", port: 8084, portVariable: "FRAUD_PORT", writes: [] },
  { name: "fulfillment", port: 8085, portVariable: "FULFILLMENT_PORT", writes: [] },
  {
    name: "notification",
    port: 8086,
    portVariable: "NOTIFICATION_PORT",
    writes: ["mail"],
    secrets: ["SMTP_URL"],
  },
  {
    name: "registry",
    port: 8081,
    portVariable: "REGISTRY_PORT",
    writes: ["registry"],
    looksOn: true,
    spawns: true,
    secrets: ["REGISTRY_TOKEN"],
  },
  {
    name: "analytics",
    port: 8087,
    portVariable: "ANALYTICS_PORT",
    writes: ["analytics"],
    looksOn: true,
    threads: true,
    niceness: 10,
    secrets: ["DATABASE_URL", "PGPASSWORD"],
  },
  { name: "monitor", port: 8089, portVariable: "MONITOR_PORT", writes: [], looksOn: true },
];

/** `environment` without the secrets of other services. */
export function environmentFor(
  service: Service,
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const foreign = new Set(
    services.filter((other) => other !== service).flatMap(({ secrets = [] }) => secrets),
  );
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !foreign.has(name)));
}

/** What a service is made of. Not all of the project's folder: `DATA_DIR`, with everybody's credentials, may be in it. */
const sources = ["services", "lib", "nats", "schemas", "gen", "node_modules", "package.json"];
/** Where Linux tells a process of its own memory and open files, which are among its metrics. Nothing else of `/proc`. */
const figures = ["/proc/self/status", "/proc/self/limits", "/proc/self/fd"];

/**
 * Arguments for `node` that start `service` under the permission model with just what it needs: the network,
 * reading its code and its own figures, and writing its own folders of `dataDir`. No add-ons, no other files, and, but where
 * it `spawns` or has `threads`, no child processes and no workers.
 * @param root The project's folder.
 * @param reads Files that it may read besides: its credential, for example.
 * @param compileCache Folder in which Node keeps what it has compiled, for the next start, which takes half as long. Who may
 * write it decides what is run from it: no two services share one. Default: none.
 */
export function nodeArguments(
  service: Service,
  options: { root: string; dataDir: string; reads?: readonly string[]; compileCache?: string | undefined },
): string[] {
  const { root, dataDir, reads = [], compileCache } = options;
  const writes = service.writes.map((folder) => `${dataDir}/${folder}`);
  if (compileCache !== undefined) writes.push(compileCache);
  return [
    // Stripping types and allowing the network are marked experimental in Node 26, and said so at each start.
    "--disable-warning=ExperimentalWarning",
    // What a message leaves behind dies with its commit: with room for a few commits it is never copied (docs/performance.md).
    "--max-semi-space-size=32",
    // There are more processes than cores: threads that help one of them to collect take the time of the others.
    "--single-threaded-gc",
    "--permission",
    "--allow-net",
    // Said to be dangerous at each start: what it starts is not bound by any of this.
    ...(service.spawns === true ? ["--allow-child-process", "--disable-warning=SecurityWarning"] : []),
    ...(service.threads === true ? ["--allow-worker", "--disable-warning=SecurityWarning"] : []),
    ...sources.map((name) => `--allow-fs-read=${root}/${name}`),
    ...[...figures, ...reads].map((path) => `--allow-fs-read=${path}`),
    ...writes.flatMap((folder) => [`--allow-fs-read=${folder}`, `--allow-fs-write=${folder}`]),
    `${root}/services/${service.name}/main.ts`,
  ];
}
