import type { Table } from "../../services/coordinator/table.ts";
import { Decisions } from "./decisions.ts";
import { Interner, textOf } from "./intern.ts";
import { type Invariants, isEnd, wrongState, wrongStep } from "./invariants.ts";
import { type Moves, movesOf, newProvider, type Provider } from "./moves.ts";
import { decode, encode, type State } from "./state.ts";
import { cells, makeWorld, type Scenario } from "./world.ts";

/** What was found. Every state and every step was looked at, unless there is a violation. */
export interface Exploration {
  readonly states: number;
  readonly steps: number;
  /** States in which nothing is left to happen. */
  readonly ends: number;
  /** Of the shortest run that leads to one. */
  readonly violation?: Violation;
}

export interface Violation {
  readonly what: string;
  /** What happened from the start on. */
  readonly trace: readonly string[];
}

/**
 * More than any scenario has, several times over: an exploration that gets here is one that does not end, such as one of
 * a table that asks for ever new things.
 */
const MAX_STATES = 8_000_000;

/**
 * Visits every state that one order can get into, breadth first, so that the first violation has the shortest trace. Then
 * looks backwards from the ends for states from which none can be reached by fair steps.
 */
export function explore(scenario: Scenario, table: Table): Exploration {
  const world = makeWorld(scenario, table);
  const decisions = new Decisions(world);
  const providers = new Interner<Provider>(textOf);
  const moves: Moves = { decisions, providers };
  const invariants: Invariants = { decisions, providerOf: (state) => providers.get(state.provider) };
  const counts = { cells: cells.length, timers: world.timers.length };

  const graph = new Graph();
  graph.add(encode(start(moves)), 0, "");
  let steps = 0;
  const ends: number[] = [];
  for (let from = 0; from < graph.size; from++) {
    const state = decode(graph.stateOf(from), counts);
    const wrong = wrongState(state, invariants);
    if (wrong !== undefined) return violated(wrong, from);
    if (isEnd(state, decisions)) ends.push(from);
    for (const move of movesOf(state, moves)) {
      steps += 1;
      const bad = wrongStep(state, move, invariants);
      if (bad !== undefined) return violated(bad, from, move.label);
      const to = graph.add(encode(move.to), from, move.label);
      if (move.fair && to !== from) graph.link(from, to);
    }
    if (graph.size > MAX_STATES)
      throw new RangeError(`Cannot explore ${scenario.name}: more than ${MAX_STATES} states`);
  }
  const stuck = graph.firstWithoutWayTo(ends);
  if (stuck !== undefined) return violated("I3: no end can be reached from here", stuck);
  return { states: graph.size, steps, ends: ends.length };

  function violated(what: string, at: number, last?: string): Exploration {
    const trace = [...graph.traceTo(at), ...(last === undefined ? [] : [last])];
    return { states: graph.size, steps, ends: ends.length, violation: { what, trace } };
  }
}

/** An order was accepted, and nobody has heard of it yet. */
function start({ decisions, providers }: Moves): State {
  const { first } = decisions.world;
  const created = decisions.sent.id({ ...first.created, kind: "order.created" });
  return {
    cells: decisions.initial,
    timers: decisions.world.timers.map(() => 0),
    provider: providers.id(newProvider()),
    flights: [],
    messages: [created * 2 + 1],
  };
}

/** States by number, how each was reached first, and the fair steps between them. */
class Graph {
  readonly #numbers = new Map<string, number>();
  readonly #states: string[] = [];
  readonly #parents: number[] = [];
  readonly #labels: string[] = [];
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  get size(): number {
    return this.#states.length;
  }

  stateOf(number: number): string {
    return this.#states[number] ?? "";
  }

  add(state: string, parent: number, label: string): number {
    const known = this.#numbers.get(state);
    if (known !== undefined) return known;
    const number = this.#states.push(state) - 1;
    this.#numbers.set(state, number);
    this.#parents.push(parent);
    this.#labels.push(label);
    return number;
  }

  link(from: number, to: number): void {
    this.#from.push(from);
    this.#to.push(to);
  }

  traceTo(number: number): string[] {
    const trace: string[] = [];
    for (let at = number; at > 0; at = this.#parents[at] ?? 0) trace.unshift(this.#labels[at] ?? "");
    return trace;
  }

  /** The first state, in order of discovery, from which no link leads on and on to one of `goals`. */
  firstWithoutWayTo(goals: readonly number[]): number | undefined {
    // Sources of the links into a state are `sources[begin[state]]` up to `sources[begin[state + 1]]`.
    const begin = new Uint32Array(this.size + 1);
    for (const to of this.#to) begin[to + 1] = (begin[to + 1] ?? 0) + 1;
    for (let state = 0; state < this.size; state++)
      begin[state + 1] = (begin[state + 1] ?? 0) + (begin[state] ?? 0);
    const sources = new Uint32Array(this.#to.length);
    const filled = begin.slice();
    for (const [index, to] of this.#to.entries()) {
      const at = filled[to] ?? 0;
      sources[at] = this.#from[index] ?? 0;
      filled[to] = at + 1;
    }
    const leads = new Uint8Array(this.size);
    const queue = [...goals];
    for (const goal of goals) leads[goal] = 1;
    for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
      for (let at = begin[state] ?? 0; at < (begin[state + 1] ?? 0); at++) {
        const source = sources[at] ?? 0;
        if (leads[source] === 1) continue;
        leads[source] = 1;
        queue.push(source);
      }
    }
    const stuck = leads.indexOf(0);
    return stuck < 0 ? undefined : stuck;
  }
}
