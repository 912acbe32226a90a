// `npm run docs`: writes what the docs say of the code from the code. Tests fail while any of it is stale.
import { readFile, writeFile } from "node:fs/promises";
import { tablePage } from "../services/coordinator/diagram.ts";
import { eventTable, insertBetweenMarkers } from "./event_table.ts";

const root = new URL("../", import.meta.url);
const readme = new URL("README.md", root);

await writeFile(new URL("docs/checkout.md", root), tablePage());
const table = await eventTable(new URL("proto/", root));
await writeFile(readme, insertBetweenMarkers(await readFile(readme, "utf8"), "events", table));
