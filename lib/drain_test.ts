import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { until } from "../test/support/mod.ts";
import { serve } from "./serve.ts";

describe("serve() when it is disposed of", () => {
  it("answers the request under way, takes no more, and ends", async () => {
    const asked = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const app = new Hono().get("/slow", async (context) => {
      asked.resolve();
      await go.promise;
      return context.text("done");
    });
    const server = await serve(app, {
      host: "127.0.0.1",
      port: 0,
      portVariable: "TEST_PORT",
      service: "test",
    });
    const underWay = fetch(`${server.url}/slow`);
    await asked.promise;
    let closed = false;
    const closing = server[Symbol.asyncDispose]().then(() => {
      closed = true;
    });
    await until("new connections to be refused", () =>
      fetch(`${server.url}/slow`).then(
        () => false,
        () => true,
      ),
    );
    expect(closed).toBe(false);
    go.resolve();
    expect(await (await underWay).text()).toBe("done");
    await closing;
  });

  it("cuts off what takes too long", async () => {
    const asked = Promise.withResolvers<void>();
    const app = new Hono().get("/stuck", () => {
      asked.resolve();
      return new Promise<Response>(() => undefined);
    });
    const server = await serve(app, {
      host: "127.0.0.1",
      port: 0,
      portVariable: "TEST_PORT",
      service: "test",
    });
    const underWay = fetch(`${server.url}/stuck`).catch((cause: Error) => cause);
    await asked.promise;
    await server[Symbol.asyncDispose]();
    expect(await underWay).toBeInstanceOf(Error);
  });
});
