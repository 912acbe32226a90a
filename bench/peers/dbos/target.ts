import { dirname, join } from "node:path";
import { freePorts } from "../../../tools/ports.ts";
import { startPostgres } from "../../../tools/postgres.ts";
import { openPoster } from "../../http.ts";
import { nodeFlagsSetting } from "../../node_flags.ts";
import type { Target } from "../../target.ts";
import {
  answersOk,
  checkoutBy,
  installedVersions,
  loopbackUrl,
  nodeProgram,
  openPeer,
  type PeerOptions,
} from "../peer.ts";

/** The checkout as a DBOS workflow in one Node process, on a PostgreSQL server of its own. */
export async function startDbos(options: PeerOptions): Promise<Target> {
  const { dataDir } = options;
  const [port = 0] = await freePorts(1);
  await using stack = new AsyncDisposableStack();
  // The benchmark's own folders let nobody but their owner pass.
  const above = [dataDir, dirname(dataDir)];
  const postgres = stack.use(await startPostgres({ dataDir: join(dataDir, "postgres"), above }));
  const peer = stack.use(openPeer(options));
  const origin = loopbackUrl(port);
  await peer.start({
    name: "app",
    ...nodeProgram(join(import.meta.dirname, "app", "main.ts")),
    env: {
      PORT: `${port}`,
      APP_DATABASE_URL: postgres.url("postgres"),
      DBOS_SYSTEM_DATABASE_URL: postgres.url("checkout_dbos_sys"),
    },
    channel: true,
    isReady: () => answersOk(`${origin}/healthz`),
  });
  const poster = stack.use(openPoster(origin, "/orders"));
  const owned = stack.move();
  const packages = installedVersions(import.meta.dirname, ["@dbos-inc/dbos-sdk", "pg", "hono"]);
  return {
    name: "dbos",
    versions: { ...packages, postgresql: postgres.version },
    settings: [
      "One Node process with DBOS's default settings (10 connections), and PostgreSQL as `initdb` sets it up, with the collation `C`.",
      "The checkout is a workflow, each effect a step of it; a reservation is one SQL statement, recorded under the order's id.",
      "Durable at every step: each is committed, and synced to the disk, before the next one begins.",
      nodeFlagsSetting("The Node process runs"),
    ],
    // A connection's process is a child of the server's, and comes and goes.
    pids: () => new Map([...named("postgres", postgres.pid), ...peer.pids()]),
    checkout: checkoutBy(poster, { status: 200 }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function named(name: string, pid: number | undefined): [string, number][] {
  return pid === undefined ? [] : [[name, pid]];
}
