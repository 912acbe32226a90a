import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { projectFolder } from "../../tools/nats_server.mjs";
import { mountSmallDisk } from "../support/small_disk.ts";

const script = join(projectFolder, "deploy", "nats", "health_check.sh");
/** What it needs of the image's `nc`, for machines without one. */
const netcat = `#!${process.execPath}
const [host, port] = process.argv.slice(-2);
const socket = require("node:net").connect({ host, port: Number(port) });
socket.on("error", () => process.exit(1));
process.stdin.pipe(socket);
socket.pipe(process.stdout);
`;
const writeError = {
  type: "STREAM",
  stream: "ORDER",
  error: "JetStream stream '$G > ORDER' write error: no space left on device",
};

describe("deploy/nats/health_check.sh", () => {
  let folder: string;
  let server: Server;
  let errors: object[];
  let child: ReturnType<typeof spawn>;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "health-check-test-"));
    writeFileSync(join(folder, "nc"), netcat);
    chmodSync(join(folder, "nc"), 0o755);
    errors = [];
    server = createServer((request, response) => {
      const isAsked = request.url === "/healthz?details=true";
      response.writeHead(errors.length === 0 && isAsked ? 200 : 503);
      response.end(JSON.stringify(errors.length === 0 ? { status: "ok" } : { status: "error", errors }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    child = spawn("sleep", ["60"], { stdio: "ignore" });
  });
  afterEach(() => {
    child.kill("SIGKILL");
    server.close();
    rmSync(folder, { recursive: true });
  });

  const check = (store: string, { port = (server.address() as AddressInfo).port } = {}) =>
    new Promise<{ code: number | null; out: string }>((resolve) => {
      const env = { PATH: `${folder}:${process.env.PATH}` };
      const args = [script, "127.0.0.1", `${port}`, store, `${child.pid}`];
      const running = spawn("sh", args, { env, stdio: ["ignore", "pipe", "inherit"] });
      let out = "";
      running.stdout.on("data", (text) => {
        out += text;
      });
      running.on("close", (code) => resolve({ code, out: out.trim() }));
    });

  it("says that a healthy server is", async () => {
    expect(await check(folder)).toEqual({ code: 0, out: "healthy" });
  });

  it("leaves a server alone that is not healthy for another reason, and says which", async () => {
    errors = [{ type: "JETSTREAM", error: "JetStream is not current" }];
    const { code, out } = await check(folder);
    expect([code, out]).toEqual([1, expect.stringContaining("JetStream is not current")]);
    expect(await check(folder, { port: 1 })).toEqual({ code: 1, out: "no answer from 127.0.0.1:1" });
    expect(child.signalCode).toBeNull();
  });

  it("ends a server that has failed to write, not before there is room", async () => {
    errors = [writeError];
    const store = join(folder, "store");
    using disk = mountSmallDisk(store, { bytes: 64 * 2 ** 20 });
    disk.fill();
    expect(await check(store)).toEqual({
      code: 1,
      out: "nats-server does not write, and is restarted once 48 MiB are free: 0 are",
    });
    expect(child.signalCode).toBeNull();
    disk.clear();
    const ended = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
    expect(await check(store)).toEqual({
      code: 1,
      out: "nats-server does not write, and there is room: it is ended, to be started again",
    });
    expect(await ended).toBe("SIGTERM");
  });
});
