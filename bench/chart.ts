import { exactScale, linearScale, logScale, positionOf, type Scale } from "./chart_scale.ts";

/** What is drawn of one system, the same in every panel. */
export interface Series {
  readonly name: string;
  /** By x; undefined where there is nothing to draw, and the line has a gap. */
  readonly line: readonly Point[];
  /** Drawn as crosses. Default: none. */
  readonly crosses?: readonly Point[];
}

export interface Point {
  readonly x: number;
  readonly y: number | undefined;
}

export interface Panel {
  /** With its unit. */
  readonly yLabel: string;
  readonly scale: "linear" | "log";
  /** A span of x that is shaded. */
  readonly shade: { readonly from: number; readonly to: number };
  /** In the order of the chart's `names`. */
  readonly series: readonly Series[];
}

/** Panels side by side and one below the other; those of a row share their scale, so that they can be compared. */
export interface Chart {
  readonly title: string;
  /** What is to be seen, for those who cannot see it. */
  readonly description: string;
  /** A headline for each column. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Panel[])[];
  /** With its unit. */
  readonly xLabel: string;
  /** Length of the x axis of all panels, from 0. */
  readonly xTo: number;
  /** Series by name, each with its colour: two at most. */
  readonly names: readonly string[];
  /** What a cross means. */
  readonly crossLabel: string;
  /** What the shaded span is. */
  readonly shadeLabel: string;
}

const PLOT = { width: 390, height: 130 } as const;
const LEFT = 56;
const GAP = { x: 64, y: 64 } as const;
const TOP = 130;
const BOTTOM = 56;
const RIGHT = 24;

/** Two colours that people with any colour vision tell apart, and a dash for those who print. */
const style = `
  svg { --ground: #ffffff; --text: #1f2328; --muted: #59636e; --grid: #d8dee4; --shade: #fbe9e7; --s0: #0b62c4; --s1: #c2410c; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #0d1117; --text: #f0f6fc; --muted: #9198a1; --grid: #2b323b; --shade: #37201f; --s0: #58a6ff; --s1: #ff9b57; }
  }
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--text); }
  .title { font-size: 17px; font-weight: 600; }
  .column { font-size: 14px; font-weight: 600; }
  .muted { fill: var(--muted); }
  .ground { fill: var(--ground); }
  .shade { fill: var(--shade); }
  .grid { stroke: var(--grid); }
  .axis { stroke: var(--muted); }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
  .cross { fill: none; stroke-width: 1.5; }
  .s0 { stroke: var(--s0); }
  .s1 { stroke: var(--s1); }
  .line.s1 { stroke-dasharray: 7 4; }`;

/** The chart as an SVG document that needs nothing else, and follows the reader's choice of light or dark. */
export function renderChart(chart: Chart): string {
  const { columns, rows } = chart;
  const width = LEFT + columns.length * PLOT.width + (columns.length - 1) * GAP.x + RIGHT;
  const height = TOP + rows.length * PLOT.height + (rows.length - 1) * GAP.y + BOTTOM;
  const x = exactScale(chart.xTo);
  const panels = rows.flatMap((row, i) => {
    const y = sharedScale(row);
    const top = TOP + i * (PLOT.height + GAP.y);
    return row.map((panel, j) => {
      const left = LEFT + j * (PLOT.width + GAP.x);
      const last = i === rows.length - 1;
      return group(left, top, renderPanel(panel, { x, y, xLabel: last ? chart.xLabel : undefined }));
    });
  });
  const heads = columns.map((head, j) =>
    text(head, { x: LEFT + j * (PLOT.width + GAP.x), y: TOP - 38, kind: "column" }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(chart.title)}</title>`,
    `<desc id="description">${escaped(chart.description)}</desc>`,
    `<style>${style}\n</style>`,
    `<rect class="ground" width="${width}" height="${height}"/>`,
    text(chart.title, { x: LEFT, y: 28, kind: "title" }),
    group(LEFT, 50, renderLegend(chart)),
    ...heads,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function sharedScale(row: readonly Panel[]): Scale {
  const values = row.flatMap(({ series }) =>
    series
      .flatMap(({ line, crosses = [] }) => [...line, ...crosses])
      .flatMap(({ y }) => (y === undefined || Number.isNaN(y) ? [] : [y])),
  );
  return row[0]?.scale === "log" ? logScale(values) : linearScale(values);
}

interface Axes {
  readonly x: Scale;
  readonly y: Scale;
  /** Undefined where it stands below another panel. */
  readonly xLabel: string | undefined;
}

function renderPanel({ yLabel, shade, series }: Panel, { x, y, xLabel }: Axes): string[] {
  const { width, height } = PLOT;
  const toX = (value: number) => round(positionOf(value, x) * width);
  const toY = (value: number) => round(height - positionOf(value, y) * height);
  const [from, to] = [toX(shade.from), toX(shade.to)];
  const yTicks = y.ticks.flatMap((tick) => [
    `<path class="grid" d="M0 ${toY(tick)}H${width}"/>`,
    text(label(tick), { x: -8, y: toY(tick) + 4, kind: "muted", anchor: "end" }),
  ]);
  const xTicks = x.ticks.flatMap((tick) => [
    `<path class="axis" d="M${toX(tick)} ${height}v4"/>`,
    text(label(tick), { x: toX(tick), y: height + 18, kind: "muted", anchor: "middle" }),
  ]);
  const marks = series.flatMap(({ line, crosses = [] }, i) => [
    `<path class="line s${i}" d="${linePath(line, toX, toY)}"/>`,
    ...(crosses.length === 0 ? [] : [`<path class="cross s${i}" d="${crossPath(crosses, toX, toY)}"/>`]),
  ]);
  return [
    `<rect class="shade" x="${from}" width="${round(to - from)}" height="${height}"/>`,
    text(yLabel, { x: 0, y: -10 }),
    ...yTicks,
    `<path class="axis" d="M0 ${height}H${width}"/>`,
    ...xTicks,
    ...(xLabel === undefined ? [] : [text(xLabel, { x: width / 2, y: height + 38, anchor: "middle" })]),
    ...marks,
  ];
}

/** A point between two gaps is a dot. */
function linePath(line: readonly Point[], toX: (x: number) => number, toY: (y: number) => number): string {
  let pen = "M";
  return line
    .map(({ x, y }) => {
      const drawn =
        y === undefined || Number.isNaN(y) ? "" : `${pen}${toX(x)} ${toY(y)}${pen === "M" ? "h0" : ""}`;
      pen = drawn === "" ? "M" : "L";
      return drawn;
    })
    .join("");
}

const ARM = 2.5;

function crossPath(
  crosses: readonly Point[],
  toX: (x: number) => number,
  toY: (y: number) => number,
): string {
  return crosses
    .flatMap(({ x, y }) => (y === undefined || Number.isNaN(y) ? [] : [`M${toX(x)} ${toY(y)}${crossAt}`]))
    .join("");
}

const crossAt = `m${-ARM} ${-ARM}l${2 * ARM} ${2 * ARM}m0 ${-2 * ARM}l${-2 * ARM} ${2 * ARM}`;

const SAMPLE = 28;
/** A little wider than the letters of this font are on average. */
const LETTER = 6.4;

function renderLegend({ names, crossLabel, shadeLabel }: Chart): string[] {
  let x = 0;
  const entry = (sample: string, name: string) => {
    const drawn = [group(x, 0, [sample]), text(name, { x: x + SAMPLE + 8, y: 4 })];
    x += SAMPLE + 8 + name.length * LETTER + 20;
    return drawn;
  };
  const lines = names.flatMap((name, i) => entry(`<path class="line s${i}" d="M0 0h${SAMPLE}"/>`, name));
  const shade = `<rect class="shade" y="-7" width="${SAMPLE}" height="14"/>`;
  const cross = `<path class="cross axis" d="M${SAMPLE / 2} 0${crossAt}"/>`;
  return [...lines, ...entry(cross, crossLabel), ...entry(shade, shadeLabel)];
}

function group(x: number, y: number, children: readonly string[]): string {
  return [`<g transform="translate(${x} ${y})">`, ...children, "</g>"].join("\n");
}

function text(
  content: string,
  at: { x: number; y: number; kind?: string; anchor?: "middle" | "end" },
): string {
  const kind = at.kind ? ` class="${at.kind}"` : "";
  const anchor = at.anchor ? ` text-anchor="${at.anchor}"` : "";
  return `<text x="${round(at.x)}" y="${round(at.y)}"${kind}${anchor}>${escaped(content)}</text>`;
}

function label(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 3 });
}

/** A tenth of a pixel: what is finer nobody sees. */
function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
