import { randomUUID } from "node:crypto";
import { styleText } from "node:util";
import { services } from "../services/mod.ts";
import { exampleOrder } from "./example_order.ts";
import { natsServerName } from "./processes.ts";
import type { Shop } from "./supervisor.ts";

/** How the person at the keyboard runs a command of the operator against `shop`. */
export function opsCommand(command: string, { dataDir }: { dataDir: string | undefined }): string {
  return `${dataDir ? `DATA_DIR=${quoted(dataDir)} ` : ""}npm run ops -- ${command}`;
}

/** What is said when the shop is open. @param options.dataDir As it was set; undefined for the standard one. */
export function openText(shop: Shop, { dataDir }: { dataDir: string | undefined }): string {
  const names = [...services.map(({ name }) => name), natsServerName];
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const urls = services.map(({ name }) => `  ${name.padEnd(width)}${shop.url(name)}`);
  const orders = `${shop.url("order")}/orders`;
  const { servers, nkeyFile } = shop.operator;
  return `
${bold("The shop is open.")}

${urls.join("\n")}
  ${natsServerName.padEnd(width)}${shop.natsUrl}, monitoring ${shop.url(natsServerName)}
  ${"state".padEnd(width)}${shop.dataDir}

${bold("Place an order:")}

curl -i ${orders} \\
  -H 'Content-Type: application/json' \\
  -H 'Idempotency-Key: ${randomUUID()}' \\
  -d '${JSON.stringify(exampleOrder)}'

${bold("Watch it,")} with the answer's order_id in place of ORDER_ID:

curl -N ${orders}/ORDER_ID/events

${bold("Operate it")} from this folder, or from elsewhere with the two variables:

${opsCommand("lag", { dataDir })}

export NATS_URL=${servers}
export NATS_NKEY_FILE=${quoted(nkeyFile ?? "")}

Ctrl-C stops.
`;
}

/** What is said of faults that an operator has set, and that are set still. */
export function faultText(
  faults: ReadonlyMap<string, string>,
  { dataDir }: { dataDir: string | undefined },
): string {
  const lines = [...faults].sort().map(([name, value]) => {
    return `  ${name}=${value}; to end it: ${opsCommand(`fault clear ${name}`, { dataDir })}`;
  });
  return `${bold("Set to go wrong:")}\n\n${lines.join("\n")}\n\n`;
}

function bold(text: string): string {
  return styleText("bold", text, { stream: process.stdout });
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
