import { connect } from "@nats-io/transport-node";
import { accessOptions } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import { natsServerName } from "../tools/processes.ts";
import { openAccepting } from "./accepting.ts";
import { fillCatalogue } from "./catalogue.ts";
import { nodeFlagsSetting } from "./node_flags.ts";
import { natsServerSetting, openShop, pidsOf, type ShopTargetOptions, storedMessages } from "./shop.ts";
import { skus, type Target } from "./target.ts";

const ORDER = "order";
const INVENTORY = "inventory";

/** The shop's order service, and of the rest nothing that would take time from it. */
export async function startAcceptingShop(options: ShopTargetOptions): Promise<Target> {
  await using stack = new AsyncDisposableStack();
  const needed = services.filter(({ name }) => name === ORDER || name === INVENTORY);
  const shop = stack.use(await openShop({ ...options, services: needed }));
  const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
  stack.defer(() => connection.close());
  const accepting = stack.use(openAccepting(shop.url(ORDER)));
  await fillCatalogue(shop, () => accepting.place(skus, crypto.randomUUID()));
  await shop.stop(INVENTORY);
  const closing = stack.move();
  return {
    name: "shop",
    versions: {},
    settings: [
      "The order service and nats-server, as `npm start` runs them. No other service runs: orders wait in the stream.",
      natsServerSetting,
      nodeFlagsSetting("The order service runs"),
    ],
    pids: () => pidsOf(shop, [natsServerName, ORDER]),
    messages: () => storedMessages(connection),
    checkout: accepting.checkout,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}
