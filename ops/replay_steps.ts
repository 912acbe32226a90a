import { counted, type ReplayStep } from "../nats/mod.ts";
import { note, type Output, type Progress, progress } from "./output.ts";

/** Tells how far a replay is: a line a step, and a bar for the wait on a terminal. */
export function watchReplay(output: Output): Disposable & { step(step: ReplayStep): void } {
  let bar: Progress | undefined;
  let ticks = 0;
  const end = () => {
    bar?.[Symbol.dispose]();
    bar = undefined;
  };
  return {
    step(step) {
      if (step.kind === "waiting") {
        if (bar === undefined) {
          const seconds = Math.ceil(step.ofMs / 1_000);
          note(output, `waiting ${seconds} s, after which every process knows what is a replay`);
          bar = progress(output, "Waiting", seconds);
          ticks = 0;
        }
        for (; ticks < Math.floor(step.elapsedMs / 1_000); ticks++) bar.step();
        return;
      }
      end();
      const line = lineOf(step);
      if (line !== undefined) note(output, line);
    },
    [Symbol.dispose]: end,
  };
}

function lineOf(step: Exclude<ReplayStep, { kind: "waiting" }>): string | undefined {
  switch (step.kind) {
    case "paused":
      return `paused ${step.consumers.join(", ")}`;
    case "under way":
      return `waiting for what is under way: ${counted(step.messages, "message")}`;
    case "marked": {
      const { consumer, upTo, underWay } = step;
      const left = underWay === 0 ? "" : `; ${underWay} still under way, and handled as always`;
      return `${consumer}: what comes up to ${upTo} is a replay${left}`;
    }
    case "reset":
      return `${step.consumer}: reset to ${step.from}`;
    case "resumed":
      return step.consumers.length === 0 ? undefined : `resumed ${step.consumers.join(", ")}`;
    default:
      return step satisfies never;
  }
}
