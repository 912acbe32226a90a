import type { MessageShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type checkoutCancelled, checkoutState, checkoutTimer, deadlinePassed, key } from "../../nats/mod.ts";
import { checkoutOf } from "../../services/coordinator/handlers.ts";
import { sweepOne } from "../../services/coordinator/sweep.ts";
import { audit, type Fault } from "./audit.ts";
import { Customers, initialStock } from "./customers.ts";
import { Network, noFaults, randomFaults, type Value } from "./network.ts";
import { type Bug, dateOf, type Surroundings } from "./process.ts";
import { Random } from "./random.ts";
import { deadlines, Shop } from "./shop.ts";
import { Store } from "./store.ts";
import { type Task, Timeline } from "./time.ts";

export interface SimulationOptions {
  /** Default: 3 to 12, by the seed. */
  orders?: number | undefined;
  /** Default: none. */
  bug?: Bug | undefined;
  /** Told what happens, for people. Default: nobody is. */
  say?: ((line: string) => void) | undefined;
}

export interface Simulation {
  readonly seed: number;
  readonly orders: number;
  readonly events: number;
  /** How each order ended, with the reason. */
  readonly ends: readonly string[];
  readonly faults: readonly Fault[];
}

/** Faults end here, and everything has to come to rest. */
const HEAL_MS = 100_000;
/** Virtual time within which everything has come to rest: several times the longest deadlines in a row. */
const MAX_MS = 2 * 3_600_000;
/** More than any seed needs, several times over: what gets here goes round in circles. */
const MAX_EVENTS = 300_000;
/** One seed of so many encodes what it stores: it costs more, and seldom shows more. */
const WIRE_EVERY = 20;
const ACK_WAIT_MS = 10_000;
const SWEEP_EVERY_MS = 30_000;
/** As in `sweep.ts`. */
const SWEEP_GRACE_MS = 5_000;
const LOOK_BACK_MS = 90_000;

/** One run of the whole shop under faults, from the first order until nothing is left to happen. The same for the same seed. */
export function simulate(seed: number, options: SimulationOptions = {}): Simulation {
  const random = new Random(seed);
  const time = new Timeline();
  const orders = options.orders ?? random.between(3, 12);
  const faults = randomFaults(random);
  const store = new Store<Value>({
    now: () => time.now,
    after: (ms, run) => time.after(ms, run),
    ackWaitMs: ACK_WAIT_MS,
    losesTimer: () => random.chance(network.faults.timerLost),
  });
  const network = new Network({ store, time, random, faults });
  const { say: tell } = options;
  const say: Surroundings["say"] = (who, text) => tell?.(line(time.now, who, text()));
  const around: Surroundings = {
    time,
    random,
    network,
    bug: options.bug,
    wire: seed % WIRE_EVERY === 0,
    say,
  };
  const shop = new Shop(around, store);
  const customers = new Customers(shop, around);

  const world = { life: 0, pausedUntil: 0 };
  for (const [sku, units] of Object.entries(initialStock)) time.start(world, customers.stock(sku, units));
  for (let number = 1; number <= orders; number++) time.start(world, customers.order(number));
  time.start(world, chaos(shop, around, store));
  time.start(world, sweeps(shop, around, { store, customers }));
  time.after(HEAL_MS, () => {
    network.faults = noFaults;
    say("", () => "from here on nothing goes wrong");
  });
  try {
    while (!time.idle && time.now < MAX_MS && time.events < MAX_EVENTS) time.step();
  } catch (cause) {
    const what = `a service threw: ${cause instanceof Error ? cause.stack : cause}`;
    return { seed, orders, events: time.events, ends: [], faults: [{ what }] };
  }
  const found = audit({ shop, store, initialStock, accepted: customers.accepted });
  if (customers.waiting > 0) found.push({ what: `I3: ${customers.waiting} customers have no answer` });
  return { seed, orders, events: time.events, ends: endsOf(store), faults: found };
}

function endsOf(store: Store<Value>): string[] {
  const ends = store
    .all("CHECKOUT")
    .filter(({ subject }) => /^checkout\.(completed|cancelled)\./.test(subject));
  return ends.map(({ subject, data }) => {
    const reason = (data as MessageShape<typeof checkoutCancelled.schema>).reason ?? "";
    return `${subject.split(".")[1]} ${reason}`.trimEnd();
  });
}

/** Kills processes, stops them for a while, and starts consumers anew, until there are to be no more faults. */
function* chaos(shop: Shop, { time, random, say }: Surroundings, store: Store<Value>): Task<void> {
  const everyMs = random.pick([2_000, 10_000, 50_000]);
  while (time.now < HEAL_MS) {
    yield random.delay(everyMs);
    // The wait may be a long one: what goes wrong at the very end of a run nobody could mend.
    if (time.now >= HEAL_MS) return;
    const victim = random.pick(shop.instances);
    const what = random.next();
    if (what < 0.5) shop.kill(victim, random.delay(1_000));
    else if (what < 0.9) {
      victim.pausedUntil = time.now + random.delay(2_000);
      say(victim.name, () => `stands still until ${victim.pausedUntil}`);
    } else {
      const [stream, service] = random.pick(consumers);
      say(service, () => `gets all of ${stream} again`);
      store.reset(stream, service);
    }
  }
}

const consumers = [
  ["ORDER", "coordinator"],
  ["INVENTORY", "coordinator"],
  ["FRAUD", "coordinator"],
  ["PAYMENT", "coordinator"],
  ["FULFILLMENT", "coordinator"],
  ["CHECKOUT", "coordinator"],
  ["CHECKOUT", "inventory"],
  ["CHECKOUT", "payment"],
  ["CHECKOUT", "fraud"],
  ["CHECKOUT", "fulfillment"],
  ["CHECKOUT", "notification"],
] as const;

/** What `sweep.ts` does: finds overdue checkouts without relying on a timer to fire or to arrive. Until all have ended. */
function* sweeps(
  shop: Shop,
  { time, say }: Surroundings,
  { store, customers }: { store: Store<Value>; customers: Customers },
): Task<void> {
  for (;;) {
    yield SWEEP_EVERY_MS;
    const live = store
      .all("CHECKOUT")
      .filter(({ subject }) => subject.startsWith(`${checkoutTimer.subject}.`));
    if (time.now > HEAL_MS && customers.waiting === 0 && live.length === 0) return;
    const now = dateOf(time.now);
    const late = live.map(({ data }) => data as MessageShape<typeof checkoutTimer.schema>).filter(isLate);
    const fired = store
      .all("CHECKOUT")
      .filter(
        ({ subject, at }) => at > time.now - LOOK_BACK_MS && subject.startsWith(`${deadlinePassed.subject}.`),
      )
      .map(({ data }) => data as MessageShape<typeof deadlinePassed.schema>);
    for (const { orderId: id } of [...late, ...fired]) {
      yield* shop.call("coordinator", (ledger) =>
        ledger.execute({
          keys: [key(checkoutState, id)],
          decide: (view) => {
            const messages = sweepOne(checkoutOf(view, id), now, deadlines);
            if (messages.length > 0) say("sweep", () => `${id} is overdue`);
            return { messages, result: true };
          },
        }),
      );
    }

    function isLate({ deadline }: MessageShape<typeof checkoutTimer.schema>): boolean {
      return deadline !== undefined && timestampMs(deadline) + SWEEP_GRACE_MS <= now.getTime();
    }
  }
}

function line(ms: number, who: string, text: string): string {
  return `${(ms / 1_000).toFixed(3).padStart(9)}  ${who.padEnd(15)} ${text}`;
}
