import { connectService, consume, run, type Service, serveHttp } from "../../lib/mod.ts";
import { item, key, newTrace } from "../../nats/mod.ts";
import { routes } from "./app.ts";
import { readInventoryConfig } from "./config.ts";
import { handlers, seed } from "./decide.ts";
import { sandboxItems } from "./sandbox.ts";

await run("inventory", async (life) => {
  const config = readInventoryConfig();
  const service = await connectService("inventory", { config, ...life });
  if (config.SANDBOX) await seedSandbox(service);
  consume(service, handlers);
  await serveHttp(service, { port: config.INVENTORY_PORT, portVariable: "INVENTORY_PORT" }, (app) =>
    routes(app, { ...service, operatorToken: config.OPERATOR_TOKEN }),
  );
});

async function seedSandbox({ ledger }: Service): Promise<void> {
  const trace = newTrace();
  const items = Object.entries(sandboxItems);
  await Promise.all(
    items.map(([sku, change]) =>
      ledger.execute({ keys: [key(item, sku)], trace, decide: (view) => seed(view, sku, change) }),
    ),
  );
}
