import { expect, test } from "vitest";
import { type Chart, type Panel, renderChart } from "./chart.ts";

const panel: Panel = {
  yLabel: "accepted a second",
  scale: "linear",
  shade: { from: 2, to: 5 },
  series: [
    { name: "shop", line: [0, 1, 2].map((x) => ({ x, y: 10 })) },
    {
      name: "rest",
      line: [
        { x: 0, y: 10 },
        { x: 1, y: undefined },
        { x: 2, y: 5 },
      ],
      crosses: [{ x: 1, y: 0 }],
    },
  ],
};
const chart: Chart = {
  title: "Slow & dead",
  description: "a < b",
  columns: ["one"],
  rows: [[panel], [{ ...panel, scale: "log" }]],
  xLabel: "seconds",
  xTo: 10,
  names: ["this shop", "the chain"],
  crossLabel: "refused",
  shadeLabel: "fault",
};

test("renderChart() says in words what it shows", () => {
  const svg = renderChart(chart);
  expect(svg).toContain('<title id="title">Slow &amp; dead</title>');
  expect(svg).toContain('<desc id="description">a &lt; b</desc>');
  for (const word of ["this shop", "the chain", "refused", "seconds", "accepted a second", "fault"]) {
    expect(svg).toContain(`>${word}</text>`);
  }
});

test("renderChart() follows the reader's choice of light or dark", () => {
  expect(renderChart(chart)).toContain("prefers-color-scheme: dark");
});

test("renderChart() leaves a gap where there is no value, and never draws what is no number", () => {
  const svg = renderChart({ ...chart, rows: [[panel]] });
  const [, rest] = [...svg.matchAll(/<path class="line s1" d="(M0 [^"]*)"/g)].map(([, path]) => path);
  expect(rest?.match(/M/g)).toHaveLength(2);
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
});

test("renderChart() draws a chart of nothing", () => {
  const empty = { ...panel, series: [{ name: "shop", line: [] }] };
  expect(renderChart({ ...chart, rows: [[empty]] })).not.toMatch(/NaN|undefined|Infinity/);
});
