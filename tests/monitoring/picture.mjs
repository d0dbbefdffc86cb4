// Draws the panels of deploy/grafana/outrigger.json from what a Prometheus answers to their queries: the picture in docs/pictures.
//
// Run by tests/monitoring.rs as `node tests/monitoring/picture.mjs ORDER`, ORDER being JSON: `dashboard` (a file), `prometheus` (a URL),
// `seconds` (how much time), `step` (between two points), `window` (what stands for $__rate_interval) and `picture` (where to). It is no
// Grafana: it knows the grid, stats, lines and stacks, the units that are used here, and nothing more.

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { strict as assert } from 'node:assert';

const order = JSON.parse(process.argv[2]);
const { chromium } = createRequire(join(process.env.OUTRIGGER_TEST_BROWSER, 'package.json'))('playwright-core');
const dashboard = JSON.parse(readFileSync(order.dashboard, 'utf8'));

const WIDTH = 1440;
const MARGIN = 16;
/** The height of one unit of the grid, and the room between panels, in pixels. */
const UNIT = 26;
const GAP = 8;
/** Legends beyond this are told as a number. */
const LEGENDS_MAX = 6;
const PALETTE = ['#2f6fde', '#d9822b', '#2e8b57', '#b4453c', '#7a5cc2', '#1f97a3', '#a8518a', '#7d7a2c', '#55606e', '#c9a227'];
const STATES = { green: '#2e8b57', orange: '#c56a12', red: '#b4453c' };

const end = Date.now() / 1000;
const start = end - order.seconds;

function chosen(expr) {
  return expr.replaceAll('$__rate_interval', order.window).replace(/"\$(job|namespace|instance|webhook)"/g, '".*"');
}

async function ask(expr) {
  const query = new URLSearchParams({ query: chosen(expr), start: String(start), end: String(end), step: String(order.step) });
  const answer = await (await fetch(`${order.prometheus}/api/v1/query_range?${query}`)).json();
  assert.equal(answer.status, 'success', `${expr}: ${JSON.stringify(answer)}`);
  return answer.data.result;
}

async function lines(panel) {
  const found = [];
  for (const target of panel.targets) {
    for (const { metric, values } of await ask(target.expr)) {
      const points = values.map(([at, value]) => [at, Number(value)]).filter(([, value]) => Number.isFinite(value));
      const name = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? '');
      if (points.length > 0) found.push({ name, points });
    }
  }
  assert.ok(found.length > 0, `${panel.title} has no data`);
  return found;
}

const scaled = (value, unit, steps) => {
  for (const [size, sign] of steps) if (Math.abs(value) >= size) return `${digits(value / size)} ${sign}${unit}`.trim();
  return `${digits(value)} ${unit}`.trim();
};
const digits = (value) => (value === 0 ? '0' : Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString());
const seconds = [[31557600, 'years'], [86400, 'days'], [3600, 'h'], [60, 'min']];

function told(value, unit) {
  if (unit === 'percentunit') return `${digits(value * 100)} %`;
  if (unit === 'bytes') return scaled(value, 'B', [[2 ** 30, 'Gi'], [2 ** 20, 'Mi'], [2 ** 10, 'Ki']]);
  if (unit === 'ops') return `${digits(value)}/s`;
  if (unit === 's' && Math.abs(value) < 1 && value !== 0) return `${digits(value * 1000)} ms`;
  if (unit === 's') return scaled(value, '', seconds).replace(/^([-\d.]+)$/, '$1 s');
  return scaled(value, '', [[1e6, 'M'], [1e3, 'k']].filter(([size]) => Math.abs(value) >= size * 10));
}

const text = (value) => String(value).replace(/[&<>"]/g, (sign) => `&#${sign.codePointAt(0)};`);

/** Round values from `low` to `high`, four or so. */
function ticks(low, high, unit) {
  const units = { bytes: [2 ** 30, 2 ** 20, 2 ** 10], s: [86400, 3600, 60] }[unit] ?? [];
  const base = units.find((size) => high >= 2 * size) ?? 1;
  if (base > 1) return ticks(low / base, high / base).map((at) => at * base);
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((part) => part >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(at);
  return found;
}

function clock(at) {
  return new Date(at * 1000).toISOString().slice(11, order.seconds < 120 ? 19 : 16);
}

function chart(panel, found, width, height) {
  const { unit, min, max, custom } = panel.fieldConfig.defaults;
  const stacked = custom.stacking.mode === 'normal';
  const sums = new Map();
  const drawn = found.map((line) => ({
    ...line,
    points: line.points.map(([at, value]) => {
      const below = stacked ? (sums.get(at.toFixed(3)) ?? 0) : 0;
      if (stacked) sums.set(at.toFixed(3), below + value);
      return [at, below + value, below];
    }),
  }));
  const all = drawn.flatMap(({ points }) => points.map(([, value]) => value));
  const low = min ?? Math.min(0, ...all);
  const high = Math.max(max ?? 0, ...all, low + 1e-9) * (max === undefined ? 1.05 : 1);
  const left = 64;
  const bottom = 20;
  const x = (at) => left + ((at - start) / (end - start)) * (width - left - 8);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - bottom - 6);
  const out = [];
  for (const at of ticks(low, high, unit)) {
    out.push(`<line class="grid" x1="${left}" x2="${width - 8}" y1="${y(at).toFixed(1)}" y2="${y(at).toFixed(1)}"/><text x="${left - 6}" y="${(y(at) + 4).toFixed(1)}" text-anchor="end">${text(told(at, unit))}</text>`);
  }
  for (let part = 0; part <= 3; part += 1) {
    const at = start + ((end - start) * part) / 3;
    out.push(`<text x="${x(at).toFixed(1)}" y="${height - 5}" text-anchor="${['start', 'middle', 'middle', 'end'][part]}">${clock(at)}</text>`);
  }
  drawn.forEach(({ points }, number) => {
    const colour = PALETTE[number % PALETTE.length];
    // A line is broken where nothing was answered.
    const runs = [];
    for (const point of points) {
      const run = runs.at(-1);
      if (run && point[0] - run.at(-1)[0] < order.step * 1.5) run.push(point);
      else runs.push([point]);
    }
    for (const run of runs) {
      const path = run.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
      if (custom.fillOpacity > 0) {
        const back = run.toReversed().map(([at, , below]) => `${x(at).toFixed(1)},${y(Math.max(below, low)).toFixed(1)}`);
        out.push(`<polygon points="${[...path, ...back].join(' ')}" fill="${colour}" fill-opacity="${stacked ? 0.25 : 0.08}"/>`);
      }
      if (run.length === 1) path.push(`${(x(run[0][0]) + 2).toFixed(1)},${y(run[0][1]).toFixed(1)}`);
      out.push(`<polyline points="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`);
    }
  });
  return `<svg width="${width}" height="${height}">${out.join('')}</svg>`;
}

function legend(panel, found) {
  const { unit } = panel.fieldConfig.defaults;
  const shown = found.map(({ name, points }, number) => [name, points.at(-1)[1], PALETTE[number % PALETTE.length]]);
  const more = shown.length - LEGENDS_MAX;
  const item = ([name, last, colour]) => `<span><i style="background:${colour}"></i>${text(name)} <b>${text(told(last, unit))}</b></span>`;
  return `<div class="legend">${shown.slice(0, LEGENDS_MAX).map(item).join('')}${more > 0 ? `<span>and ${more} more</span>` : ''}</div>`;
}

function stat(panel, found) {
  const { unit, thresholds, mappings } = panel.fieldConfig.defaults;
  const last = found[0].points.at(-1)[1];
  const mapped = mappings[0]?.options[String(last)];
  const state = thresholds.steps.filter(({ value }) => value === null || last >= value).at(-1).color;
  return `<p class="stat" style="color:${STATES[mapped?.color ?? state]}">${text(mapped?.text ?? told(last, unit))}</p>`;
}

const unit = (WIDTH - 2 * MARGIN + GAP) / 24;
let bottom = 0;
const boxes = [];
for (const panel of dashboard.panels) {
  const { x, y, w, h } = panel.gridPos;
  const [left, top, width, height] = [MARGIN + x * unit, 64 + y * UNIT, w * unit - GAP, h * UNIT - GAP];
  bottom = Math.max(bottom, top + height);
  const at = `left:${left.toFixed(1)}px;top:${top}px;width:${width.toFixed(1)}px;height:${height}px`;
  if (panel.type === 'row') {
    boxes.push(`<h2 style="${at}">${text(panel.title)}</h2>`);
    continue;
  }
  const found = await lines(panel);
  const rows = Math.ceil(Math.min(found.length, LEGENDS_MAX + 1) / (w >= 12 ? 3 : w >= 8 ? 2 : 1));
  const inner = panel.type === 'stat' ? stat(panel, found) : chart(panel, found, Math.floor(width - 16), height - 38 - rows * 16) + legend(panel, found);
  boxes.push(`<section style="${at}"><h3>${text(panel.title)}</h3>${inner}</section>`);
}

const page = `<!doctype html><meta charset="utf-8"><style>
* { box-sizing: border-box; margin: 0 }
body { background: #f4f5f7; color: #1f2430; font: 12px system-ui, sans-serif; position: relative }
h1 { font-size: 20px; padding: 18px ${MARGIN}px 0 } h1 small { font-size: 12px; font-weight: 400; color: #5b6472; margin-left: 12px }
h2, section { position: absolute } h2 { font-size: 13px; padding-top: 4px }
section { background: #fff; border: 1px solid #d9dde3; border-radius: 4px; padding: 6px 8px; overflow: hidden }
h3 { font-size: 12px; font-weight: 600; height: 18px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
svg { display: block } svg text { font-size: 10px; fill: #5b6472 } .grid { stroke: #e8ebef }
.stat { font-size: 28px; font-weight: 600; text-align: center; padding-top: 18px; white-space: nowrap }
.legend { display: flex; flex-wrap: wrap; gap: 0 12px; line-height: 16px; font-size: 11px } .legend b { font-weight: 600 }
.legend i { display: inline-block; width: 10px; height: 3px; margin-right: 4px; vertical-align: middle }
</style><h1>${text(dashboard.title)}<small>the panels of deploy/grafana/outrigger.json, drawn from what Prometheus answered</small></h1>${boxes.join('\n')}`;

const program = process.env.PATH.split(delimiter).flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(folder, name))).find(existsSync);
const browser = await chromium.launch({ executablePath: program, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
try {
  const window = await browser.newPage({ viewport: { width: WIDTH, height: Math.ceil(bottom + MARGIN) }, colorScheme: 'light' });
  await window.setContent(page);
  await window.screenshot({ path: order.picture });
} finally {
  await browser.close();
}
