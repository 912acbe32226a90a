import { type Command, InvalidArgumentError, Option } from "commander";
import { checkoutState, counted, key, OpenLetters, orderStates, viewMany } from "../nats/mod.ts";
import { findOrders, type OrderFilter } from "../services/order/find.ts";
import { CHECKOUT, fromCheckout, toSummary } from "../services/order/status.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, note, type Output, print, printJson } from "./output.ts";
import type { Context } from "./program.ts";
import { untimedOrders } from "./untimed.ts";

/** A list that a person looks at. All orders are an export. */
const MAX_LIMIT = 10_000;
const DEFAULT_LIMIT = 20;
/** Orders of one page of the streams. */
const PAGE = 100;

interface Flags {
  state?: NonNullable<OrderFilter["state"]>;
  stuck?: boolean;
  untimed?: boolean;
  limit: number;
  cursor?: number;
  ids?: boolean;
  json?: boolean;
}

/** `orders`: which orders there are and where they stand, from the streams alone, whatever services run. */
export function addOrders(program: Command, { output, run }: Context): void {
  program
    .command("orders")
    .description("orders and where they stand, oldest first, as GET /orders has them; no service has to run")
    .addOption(new Option("--state <state>", "in this state").choices(orderStates))
    .option("--stuck", "that dead letters hold up")
    .addOption(
      new Option("--untimed", "that are live and have lost their timer").conflicts([
        "stuck",
        "state",
        "cursor",
      ]),
    )
    .option("--limit <n>", `how many at most, up to ${MAX_LIMIT}`, whole(MAX_LIMIT), DEFAULT_LIMIT)
    .option("--cursor <cursor>", "go on where an earlier list ended", whole(Number.MAX_SAFE_INTEGER))
    .option(
      "--ids",
      "print ids, one a line, and nothing else: ORDER=$(npm run --silent ops -- orders --ids --limit 1)",
    )
    .addOption(new Option("--json", "print JSON").conflicts("ids"))
    .action((flags: Flags) => run((shop) => list(output, shop, flags)));
}

function whole(max: number): (text: string) => number {
  return (text) => {
    const number = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : 0;
    if (number < 1 || number > max) throw new InvalidArgumentError(`It is no number from 1 to ${max}.`);
    return number;
  };
}

/** What was found, and where the list goes on. */
interface Found {
  orders: ReturnType<typeof toSummary>[];
  from?: number | undefined;
}

async function find({ jsm }: Shop, { state, stuck = false, limit, cursor }: Flags): Promise<Found> {
  const source = { jsm, letters: new OpenLetters(jsm) };
  const orders: Found["orders"] = [];
  let from = cursor;
  do {
    const range = { from: from ?? 1, limit: Math.min(PAGE, limit - orders.length) };
    const page = await findOrders(source, { state, stuck }, range);
    orders.push(...page.found.map(toSummary));
    from = page.next;
  } while (from !== undefined && orders.length < limit);
  return { orders, from };
}

/** There are few of them or none, so that there is no other page. */
async function findUntimed(shop: Shop, { limit }: Flags): Promise<Found> {
  const ids = (await untimedOrders(shop)).slice(0, limit);
  const checkouts = await viewMany(
    shop.jsm,
    CHECKOUT,
    ids.map((orderId) => key(checkoutState, orderId)),
  );
  return {
    orders: checkouts.flatMap((checkout) => (checkout && fromCheckout(checkout)) ?? []).map(toSummary),
  };
}

async function list(output: Output, shop: Shop, flags: Flags): Promise<ExitCode> {
  const { orders, from } = await (flags.untimed ? findUntimed(shop, flags) : find(shop, flags));
  if (flags.json) {
    printJson(output, { orders, ...(from !== undefined && { next_cursor: String(from) }) });
    return 0;
  }
  if (flags.ids) {
    for (const { order_id } of orders) print(output, order_id);
    // A script that asks for ids cannot go on without one.
    return orders.length > 0 ? 0 : 1;
  }
  const rows = orders.map((order) => [
    order.order_id,
    order.state,
    order.reason ?? "",
    `${order.total_cents} ${order.currency}`,
    order.placed_at?.slice(0, 19).replace("T", " ") ?? "",
    order.stuck?.map(({ dead_letter }) => dead_letter).join(" ") ?? "",
  ]);
  const heads = ["ORDER", "STATE", "REASON", "CENTS", "PLACED", "STUCK"];
  const [head = "", ...lines] = columns([heads, ...rows]);
  if (lines.length > 0) print(output, colour(output, "bold", head));
  for (const [index, line] of lines.entries())
    print(output, orders[index]?.stuck ? colour(output, "red", line) : line);
  note(output, from === undefined ? counted(orders.length, "order") : `More: --cursor ${from}`);
  return 0;
}
