import { createServer } from "node:http2";
import { createEndpointHandler } from "@restatedev/restate-sdk";
import { checkout } from "./checkout.ts";
import { checkoutOfServices } from "./checkout_of_services.ts";
import { inventory } from "./inventory.ts";
import { fulfillment, notification, payment } from "./services.ts";

// Whoever started this process is gone.
process.once("disconnect", () => process.exit());

// What the SDK's serve() does, except that it listens on every interface.
const services = [checkout, checkoutOfServices, inventory, payment, fulfillment, notification];
createServer(createEndpointHandler({ services })).listen(Number(process.env.PORT), "127.0.0.1");
