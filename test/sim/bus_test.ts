import { afterAll, beforeAll } from "vitest";
import { type NatsServer, startNats } from "../support/mod.ts";
import { busContract } from "./bus_contract.ts";
import { openFakeBus } from "./fake_bus.ts";
import { openRealBus } from "./real_bus.ts";

let server: NatsServer;
beforeAll(async () => {
  server = await startNats();
});
afterAll(() => server[Symbol.asyncDispose]());

busContract("a real nats-server", () => openRealBus(server));
busContract("the simulation's store", openFakeBus);
