import { connect, type Socket } from "node:net";
import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { serve } from "./serve.ts";

/** Sends `text` as it is, and resolves with all that comes back until the server closes the connection. */
async function exchange(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket: Socket = connect(Number(port), hostname);
  socket.setEncoding("utf8").write(text);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
}

const start = (options: { requestTimeoutMs?: number; headersTimeoutMs?: number } = {}) => {
  const app = new Hono()
    .get("/", (context) => context.text("here"))
    .post("/", async (context) => context.text(await context.req.text()));
  return serve(app, { host: "127.0.0.1", port: 0, portVariable: "TEST_PORT", service: "test", ...options });
};

describe("serve()", () => {
  it("cuts off a client that takes too long for its headers", async () => {
    await using server = await start({ headersTimeoutMs: 100 });
    expect(await exchange(server.url, "POST / HTTP/1.1\r\nHost: x\r\n")).toMatch(/^HTTP\/1.1 408 /);
  });

  it("cuts off a client that takes too long for its body", async () => {
    await using server = await start({ requestTimeoutMs: 200, headersTimeoutMs: 100 });
    const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
    expect(await exchange(server.url, `${head}half`)).toMatch(/^HTTP\/1.1 408 /);
  });

  it("refuses headers beyond 16 KiB", async () => {
    await using server = await start();
    const head = `POST / HTTP/1.1\r\nHost: x\r\nX-Large: ${"x".repeat(17 * 1024)}\r\n\r\n`;
    expect(await exchange(server.url, head)).toMatch(/^HTTP\/1.1 431 /);
  });

  it.each(["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: \r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n"])(
    "answers %j, as a load balancer sends it",
    async (request) => {
      await using server = await start();
      expect(await exchange(server.url, request)).toMatch(/^HTTP\/1.1 200 /);
    },
  );

  it("refuses HTTP/1.1 without a Host header", async () => {
    await using server = await start();
    expect(await exchange(server.url, "GET / HTTP/1.1\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
  });

  it("names the port that is taken, and the variable that changes it", async () => {
    await using server = await start();
    const port = Number(new URL(server.url).port);
    const options = { host: "127.0.0.1", port, portVariable: "TEST_PORT", service: "test" };
    await expect(serve(new Hono(), options)).rejects.toThrow(
      `Cannot start test: port ${port} is taken; free it or set TEST_PORT`,
    );
  });
});
