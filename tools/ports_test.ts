import { createServer } from "node:net";
import { expect, test } from "vitest";
import { assertPortsFree, freePorts, loopback, type PortUse } from "./ports.ts";

async function listen(port: number) {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(port, loopback, resolve);
  });
  return server;
}

async function twoUses(): Promise<[PortUse, PortUse]> {
  const [a = 0, b = 0] = await freePorts(2);
  return [
    { name: "order", port: a, variable: "ORDER_PORT" },
    { name: "payment", port: b, variable: "PAYMENT_PORT" },
  ];
}

test("assertPortsFree() is content with free ports, and leaves them free", async () => {
  const uses = await twoUses();
  await assertPortsFree(uses);
  await assertPortsFree(uses);
});

test("assertPortsFree() names a taken port and its variable", async () => {
  const [order, payment] = await twoUses();
  await using _server = await listen(order.port);
  await expect(assertPortsFree([order, payment])).rejects.toThrow(
    `Cannot start order: port ${order.port} is taken; free it or set ORDER_PORT`,
  );
});

test("assertPortsFree() names all taken ports at once", async () => {
  const [order, payment] = await twoUses();
  await using _one = await listen(order.port);
  await using _two = await listen(payment.port);
  await expect(assertPortsFree([order, payment])).rejects.toThrow(
    `Cannot start order, payment: ports ${order.port}, ${payment.port} are taken; ` +
      "free them or set ORDER_PORT, PAYMENT_PORT",
  );
});

test("assertPortsFree() refuses one port for two", async () => {
  const [order, payment] = await twoUses();
  await expect(assertPortsFree([order, { ...payment, port: order.port }])).rejects.toThrow(
    `Cannot start payment: ORDER_PORT and PAYMENT_PORT are both ${order.port}`,
  );
});

test("assertPortsFree() waits for a port that comes free in time", async () => {
  const [order] = await twoUses();
  const server = await listen(order.port);
  const check = assertPortsFree([order], { waitMs: 10_000 });
  server.close();
  await check;
});
