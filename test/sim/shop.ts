import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type AnyHandler, type Contract, ledgerOf, subjectOf, topology } from "../../nats/mod.ts";
import { handlers as coordinator } from "../../services/coordinator/handlers.ts";
import { handlers as fraud } from "../../services/fraud/decide.ts";
import { handlers as fulfillment } from "../../services/fulfillment/decide.ts";
import { unpackable } from "../../services/fulfillment/sandbox.ts";
import { handlers as inventory } from "../../services/inventory/decide.ts";
import { handlers as notification } from "../../services/notification/decide.ts";
import { handlers as order } from "../../services/order/decide.ts";
import { handlers as payment } from "../../services/payment/decide.ts";
import { SimLedger } from "./ledger.ts";
import type { Value } from "./network.ts";
import { Mailboxes, Provider } from "./outside.ts";
import type { Process, Surroundings } from "./process.ts";
import { SimProcessor } from "./processor.ts";
import type { Delivered, Store } from "./store.ts";
import { Signal, type Task, wait } from "./time.ts";

const SECOND = 1_000;
export const deadlines = {
  reserving: 60 * SECOND,
  screening: 60 * SECOND,
  in_review: 60 * SECOND,
  charging: 20 * SECOND,
  fulfilling: 60 * SECOND,
  refunding: 60 * SECOND,
  releasing: 60 * SECOND,
};
const REVIEW_TTL_MS = 120 * SECOND;
/** How long a caller waits for a service. */
const CALL_TIMEOUT_MS = 10 * SECOND;
/** Messages that are fetched at a time. */
const MAX_FETCH = 20;

const nobody = () => Promise.reject(new Error("the simulation answers"));

/** The services' own handlers. What they perform outside their ledgers is the simulation's. */
const handlersOf: Readonly<Record<string, readonly AnyHandler[]>> = {
  order,
  coordinator: coordinator(deadlines),
  inventory,
  payment: payment({ provider: { name: "simulated", capture: nobody, refund: nobody } }),
  fraud: fraud({ reviewTtlMs: REVIEW_TTL_MS }),
  fulfillment: fulfillment({ unpackable }),
  notification: notification({ mailer: { send: nobody } }),
};

export const services: readonly string[] = Object.keys(handlersOf);

interface Instance extends Process {
  ledger: SimLedger;
  processor: SimProcessor;
}

/** All services on one store, each with one or two instances that share its ledger and its consumers. */
export class Shop {
  readonly provider = new Provider();
  readonly mailboxes = new Mailboxes();
  readonly dead: string[] = [];
  readonly instances: readonly Instance[];
  readonly #around: Surroundings;
  readonly #store: Store<Value>;
  readonly #pumping = new Set<string>();

  constructor(around: Surroundings, store: Store<Value>) {
    this.#around = around;
    this.#store = store;
    for (const { name } of topology.streams) store.addStream(name);
    for (const { stream, service, contracts } of topology.consumers) {
      if (!services.includes(service)) continue;
      const filters = contracts.map(({ subject }) => subject);
      store.addConsumer(stream, service, { filters, notify: () => this.#pump(stream, service) });
    }
    this.instances = services.flatMap((service) =>
      Array.from({ length: around.random.between(1, 2) }, (_, index) => this.#boot(service, index)),
    );
  }

  /** Has a service carry out `work`, as over HTTP: undefined if there is no answer, whatever became of it. */
  *call<T>(service: string, work: (ledger: SimLedger) => Task<T>): Task<T | undefined> {
    const { time, network } = this.#around;
    const answer = new Signal<T | undefined>();
    time.after(CALL_TIMEOUT_MS, () => answer.fire(undefined));
    const instance = this.#alive(service);
    if (instance !== undefined) {
      time.after(network.hop(), () => {
        if (!instance.alive) return;
        time.start(instance, work(instance.ledger), (result) =>
          time.after(network.hop(), () => answer.fire(result)),
        );
      });
    }
    return yield* wait(answer);
  }

  /** The process loses everything that it has in memory or under way. It comes back `afterMs` later. */
  kill(instance: Instance, afterMs: number): void {
    if (!instance.alive) return;
    this.#around.say(instance.name, () => `killed for ${afterMs} ms`);
    instance.life += 1;
    instance.alive = false;
    this.#around.time.after(afterMs, () => {
      instance.alive = true;
      instance.pausedUntil = 0;
      this.#equip(instance);
      for (const { stream, service } of topology.consumers) {
        if (service === instance.service) this.#pump(stream, service);
      }
    });
  }

  /** What a ledger says last about an entity. */
  last<S extends DescMessage>(contract: Contract<S>, id: string): MessageShape<S> | undefined {
    const subject = subjectOf(contract, id);
    const stream = topology.streams.find(({ prefix }) => subject.startsWith(`${prefix}.`));
    return this.#store.last(stream?.name ?? "", subject)?.data as MessageShape<S> | undefined;
  }

  #boot(service: string, index: number): Instance {
    const process = { service, name: `${service}/${index + 1}`, life: 0, pausedUntil: 0, alive: true };
    return this.#equip(process as Instance);
  }

  #equip(instance: Instance): Instance {
    const { service } = instance;
    const around = this.#around;
    const ledger = new SimLedger(instance, ledgerOf(service), around);
    const handlers = handlersOf[service] ?? [];
    const perform = (effect: never): Task<unknown> =>
      service === "payment" ? this.provider.perform(effect, around) : this.mailboxes.perform(effect, around);
    const onDead = ({ subject }: Delivered<Value>, reason: string) => this.dead.push(`${subject}: ${reason}`);
    const processor = new SimProcessor({ process: instance, ledger, handlers, around, perform, onDead });
    return Object.assign(instance, { ledger, processor });
  }

  #alive(service: string): Instance | undefined {
    const alive = this.instances.filter((instance) => instance.service === service && instance.alive);
    return alive.length === 0 ? undefined : this.#around.random.pick(alive);
  }

  /** Soon hands over what waits for a service, if any instance of it lives. */
  #pump(stream: string, service: string): void {
    const name = `${stream}/${service}`;
    if (this.#pumping.has(name)) return;
    this.#pumping.add(name);
    const { time, network } = this.#around;
    time.after(network.hop(), () => {
      this.#pumping.delete(name);
      if (this.#alive(service) === undefined) return;
      const fetched = this.#store.fetch(stream, service, MAX_FETCH);
      for (const message of fetched) this.#deliver(stream, service, message);
      if (fetched.length === MAX_FETCH) this.#pump(stream, service);
    });
  }

  #deliver(stream: string, service: string, message: Delivered<Value>): void {
    const { time, random, network } = this.#around;
    const { deliveryLost, deliveryDoubled } = network.faults;
    const copies = random.chance(deliveryLost) ? 0 : random.chance(deliveryDoubled) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const instance = this.#alive(service);
      const { life } = instance ?? {};
      time.after(network.hop(), () => {
        if (instance?.life === life) instance?.processor.receive(stream, message);
      });
    }
  }
}
