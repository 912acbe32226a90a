import { createInterface } from "node:readline";
import { connect } from "../../nats/mod.ts";
import { openApp } from "./test_support.ts";

// A process of the registry that has no port, for the tests: each line of its input is a list of requests, which it makes all
// at once; it answers with a line of what became of them.

const [, , servers = "", folder = ""] = process.argv;
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

await using stack = new AsyncDisposableStack();
const connection = await connect({ servers, name: "registry", log: silent });
stack.defer(() => connection.close());
const { app } = stack.use(openApp({ connection }, { folder }));

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line) as [method: string, path: string, body?: unknown][];
  const answers = await Promise.all(
    asked.map(async ([method, path, body]) => {
      const headers = { "content-type": "application/json" };
      const sent = body === undefined ? {} : { body: JSON.stringify(body) };
      const response = await app.request(path, { method, headers, ...sent });
      return { status: response.status, body: await response.json() };
    }),
  );
  console.log(JSON.stringify(answers));
}
