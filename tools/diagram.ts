// `npm run diagram`: writes docs/checkout.md from the coordinator's table. A test fails while it is stale.
import { writeFile } from "node:fs/promises";
import { tablePage } from "../services/coordinator/diagram.ts";

await writeFile(new URL("../docs/checkout.md", import.meta.url), tablePage());
