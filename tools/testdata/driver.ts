// What tools/start.ts does, with services that do nothing: the tests send signals to this process.
import { runShop } from "../run.ts";
import { root, services } from "./services.ts";

const [dataDir = "", ports = "{}"] = process.argv.slice(2);
const prepare = async () => undefined;
const code = await runShop({ dataDir, ports: JSON.parse(ports), root, services, prepare }, (shop) => {
  const names = [...services.map(({ name }) => name), "nats-server"];
  console.log(JSON.stringify(names.map((name) => shop.pid(name))));
});
process.exit(code);
