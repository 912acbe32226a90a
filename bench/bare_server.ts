// What POST /orders costs at the least: a Hono server that stores one message and answers when it is acknowledged. Run
// by bare.ts.
import { serve } from "@hono/node-server";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Hono } from "hono";
import { accessOptions } from "../nats/mod.ts";
import { loopback } from "../tools/ports.ts";

const { BARE_PORT, BARE_SUBJECT = "", NATS_URL = "", NATS_NKEY_FILE } = process.env;

const connection = await connect({
  ...accessOptions({ servers: NATS_URL, nkeyFile: NATS_NKEY_FILE }),
  name: "bare",
});
const js = jetstream(connection);
const app = new Hono()
  .get("/readyz", (context) => context.text("ok"))
  .post("/orders", async (context) => {
    const id = crypto.randomUUID();
    const body: unknown = await context.req.json();
    await js.publish(`${BARE_SUBJECT}.${id}`, JSON.stringify(body));
    return context.json({ order_id: id, state: "created" }, 202);
  });
const server = serve({ fetch: app.fetch, hostname: loopback, port: Number(BARE_PORT) });

process.once("SIGTERM", () => {
  server.close();
  void connection.close().then(() => process.exit(0));
});
