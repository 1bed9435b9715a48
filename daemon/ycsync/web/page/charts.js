// How many requests left in the last hour, beside what the preset and YCLIENTS allow?
import { el, fill, hhmm, number, put } from "./words.js";

let uPlot = null; // the library, once it is wanted
const BUCKET_S = 10;
const HOUR_S = 3600;
const LEAST_S = 600; // a chart of less would look like more than it is
const buckets = new Map(); // when it began -> [in any second, in any minute]
let limits = null;
let plots = [];
let asked = false;

/** Buckets that are new or have grown. */
export function add(series) {
  series.at.forEach((at, n) => buckets.set(at, [series.second[n], series.minute[n]]));
  const oldest = Math.max(...series.at) - HOUR_S;
  for (const at of buckets.keys()) if (at < oldest) buckets.delete(at);
  if (!asked) {
    asked = true;
    load();
  }
  draw();
}

/** After a break there may be a hole: ask for the whole hour. */
export async function load() {
  try {
    const answer = await fetch("api/traffic");
    if (answer.ok) add(await answer.json());
  } catch {
    asked = false; // the next message tries again
  }
}

let fetching = false;

/** After the first words are there: they do not wait for it. */
async function fetchLibrary() {
  if (fetching) return;
  fetching = true;
  document.head.append(el("link", { rel: "stylesheet", href: "uPlot.css" }));
  uPlot = (await import("./uPlot.js")).default;
  draw();
}

/** What the preset and YCLIENTS allow. */
export function setLimits(requests) {
  limits = requests;
  draw();
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function columns(which) {
  const end = Math.max(...buckets.keys());
  const at = [], used = [];
  // Of a service that began lately, what there is.
  const begin = Math.max(end - HOUR_S, Math.min(end - LEAST_S, Math.min(...buckets.keys())));
  for (let x = begin; x <= end; x += BUCKET_S) {
    at.push(x);
    used.push(buckets.get(x)?.[which] ?? null);
  }
  const preset = which ? limits.preset_minute : limits.preset_second;
  const limit = which ? limits.limit_minute : limits.limit_second;
  return { data: [at, used, at.map(() => preset), at.map(() => limit)], preset, limit };
}

function makePlot(id, which) {
  const figure = document.getElementById(id);
  const box = figure.querySelector(".plot");
  const said = figure.querySelector("figcaption span");
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const line = (name, dash) => ({ stroke: colour(name), width: 1.5, dash, points: { show: false } });
  const plot = new uPlot({
    width: Math.max(200, box.clientWidth), height: 180, legend: { show: false }, padding: [8, 18, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, __, top) => [0, Math.max(top ?? 0, which ? limits.limit_minute : limits.limit_second) * 1.08] } },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map((at) => hhmm(at * 1000)), space: 60 },
      { ...axis, size: 44, incrs: which ? [10, 20, 50, 100, 200, 500, 1000] : [1, 2, 5, 10, 20, 50, 100] },
    ],
    series: [{}, { stroke: colour("--busy"), fill: colour("--busy-bg"), width: 1.5, points: { show: false } }, line("--warn", [6, 4]), line("--bad", [2, 3])],
    hooks: { setCursor: [(it) => caption(it, which, said, box)] },
  }, columns(which).data, box);
  const fitting = new ResizeObserver(() => box.clientWidth > 0 && plot.setSize({ width: box.clientWidth, height: 180 }));
  fitting.observe(box);
  return { plot, which, said, box, fitting };
}

function caption(plot, which, said, box) {
  const { data, preset, limit } = columns(which);
  const [at, used] = data;
  const known = used.filter((each) => each != null);
  const most = known.length ? Math.max(...known) : null;
  const n = plot.cursor.idx;
  const here = n != null && used[n] != null ? `${hhmm(at[n] * 1000)}: ${used[n]}. ` : "";
  const since = at.length < HOUR_S / BUCKET_S ? ` since ${hhmm(at[used.findIndex((each) => each != null)] * 1000)}` : " in the last hour";
  put(said, `${here}most${since}: ${number(most)}; the preset takes ${number(preset)} (dashed), YCLIENTS ${number(limit)} (dotted)`);
  const name = which ? "Requests in any 60 seconds" : "Requests in any second";
  box.setAttribute("aria-label", `${name}, chart. Most${since}: ${number(most)}. The preset takes ${number(preset)}, YCLIENTS allows ${number(limit)}.`);
}

/** Draw again, with the colours of the moment. */
export function redraw() {
  for (const { plot, box, fitting } of plots) {
    fitting.disconnect();
    plot.destroy();
    box.replaceChildren();
  }
  plots = [];
  draw();
}

function draw() {
  if (!limits || !buckets.size || document.hidden) return;
  if (!uPlot) return fetchLibrary();
  if (!plots.length) plots = [makePlot("minute", 1), makePlot("second", 0)];
  for (const { plot, which, said, box } of plots) {
    plot.setData(columns(which).data);
    caption(plot, which, said, box);
  }
  figures();
}

function figures() {
  const rows = new Map();
  for (const [at, [second, minute]] of [...buckets].sort(([a], [b]) => a - b)) {
    const from = at - (at % 600);
    const old = rows.get(from) ?? [0, 0];
    rows.set(from, [Math.max(old[0], second), Math.max(old[1], minute)]);
  }
  fill(document.querySelector("#figures tbody"), [...rows], () =>
    [...rows].map(([from, [second, minute]]) =>
      el("tr", {}, el("th", { scope: "row" }, hhmm(from * 1000)), el("td", { className: "n" }, number(minute)), el("td", { className: "n" }, number(second)))));
}
