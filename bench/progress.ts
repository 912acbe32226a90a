import { type Options as BarOptions, MultiBar, Presets } from "cli-progress";

/** What a long run says on standard error: in a terminal a line that moves, elsewhere lines only. */
export interface Progress extends Disposable {
  /** What is being done now. */
  show(text: string): void;
  /** A line that stays. */
  tell(line: string): void;
}

/** Redrawing takes time from what is measured. */
const FRAMES_PER_SECOND = 2;

export function openProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) {
    return {
      show: () => undefined,
      tell: (line) => void stream.write(`${line}\n`),
      [Symbol.dispose]: () => undefined,
    };
  }
  const options: BarOptions = {
    format: "{duration_formatted} · {text}",
    stream,
    hideCursor: true,
    clearOnComplete: true,
    fps: FRAMES_PER_SECOND,
  };
  const bars = new MultiBar(options, Presets.shades_classic);
  const bar = bars.create(1, 0, { text: "" });
  return {
    show: (text) => bar.update(0, { text }),
    tell: (line) => bars.log(`${line}\n`),
    [Symbol.dispose]: () => bars.stop(),
  };
}
