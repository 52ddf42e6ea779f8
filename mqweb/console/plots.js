// Plots of the last minutes, by uPlot. What a plot shows is told in words too.

import uPlot from "./vendor/uplot.js";
import { useEffect, useRef, useState } from "./vendor/preact-hooks.js";
import { html } from "./ui.js";
import { theme } from "./theme.js";

/**
 * A plot: `lines` are {name, colour (a CSS variable's name), dash?}, `take()` gives
 * [times, ...columns], `mark` changes with the figures, `show` makes a number readable. `steps` are
 * those that its axis may take, if not all, such as WHOLE; `nothing` is said where there is nothing to plot.
 */
export function Plot({ title, lines, take, mark, show, steps, nothing }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [cursor, setCursor] = useState(null);
  const data = take();
  useEffect(() => {
    const box = place.current;
    const made = new uPlot(options(box, lines, { show, steps }, setCursor), data, box);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize(sizeOf(box)));
    watch.observe(box);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [title, theme.value]);
  useEffect(() => plot.current?.setData(data), [mark]);
  const at = cursor ?? data[0].length - 1;
  const values = lines.map((line, index) => ({ ...line, value: show(data[index + 1][at] ?? null) }));
  const isEmpty = nothing && data.slice(1).every((column) => column.every((value) => value === null));
  const words = isEmpty ? `${title}: ${nothing}` : `${title} over the last minutes; now ${lines
    .map((line, index) => `${line.name} ${show(data[index + 1].at(-1) ?? null)}`).join(", ")}`;
  return html`<figure class="plot">
    <figcaption><span class="plot-title">${title}</span>
      ${!isEmpty && values.map((line) => html`<span class="key" key=${line.name}><i class=${`stroke ${line.colour} ${line.dash ? "dashed" : ""}`}
        aria-hidden="true"></i>${line.name} <b>${line.value}</b></span>`)}</figcaption>
    <div ref=${place} class="canvas" role="img" aria-label=${words}></div>
    ${isEmpty && html`<p class="nothing" aria-hidden="true">${nothing}</p>`}
  </figure>`;
}

/** Steps of whole numbers, and of spans of time in seconds. */
export const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
export const SPANS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600, 7200, 18000, 43200, 86400, 172800, 432000, 864000];

/** The box is as large as the styles make it. */
function sizeOf(box) {
  return { width: Math.max(200, box.clientWidth), height: box.clientHeight };
}

function options(place, lines, { show, steps }, setCursor) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const axis = {
    stroke: colour("muted"), font: "11px system-ui, sans-serif", size: 26,
    grid: { stroke: colour("line"), width: 1 }, ticks: { show: false },
  };
  return {
    ...sizeOf(place),
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(1e-9, high ? high * 1.1 : 1)] } },
    axes: [
      { ...axis, values: (_plot, ticks) => ticks.map((at) => new Date(at * 1000).toLocaleTimeString("en-GB").slice(0, 5)), space: 60, incrs: [60, 120, 300, 600] },
      { ...axis, size: 60, values: (_plot, ticks) => ticks.map(show), space: 32, ...(steps && { incrs: steps }) },
    ],
    series: [{}, ...lines.map((line) => ({
      label: line.name, stroke: colour(line.colour), width: 1.75, dash: line.dash,
      points: { show: false }, spanGaps: false,
    }))],
    hooks: { setCursor: [(plot) => setCursor(plot.cursor.idx ?? null)] },
  };
}
