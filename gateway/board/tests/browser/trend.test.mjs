// What stands on a trend (nurse board, chapter 6), by what is drawn on its canvas.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as make from './fixtures.mjs';
import { stand } from './stand.mjs';

const it = stand();
const ZHANG = `p-${'1'.padStart(32, '0')}`;
const HOUR_MS = 3_600_000;
/** The plot lies from 0 to 124, in pixels below its top. */
const HIGH_PX = 124;

/** In the page: what is put on canvases of trends, in the pixels of the plot. */
function recorded() {
  window.__drawn = [];
  const { fillRect, beginPath, moveTo, lineTo, stroke, fillText } = CanvasRenderingContext2D.prototype;
  const points = new WeakMap();
  const tell = (context, what) => {
    const plot = context.canvas.closest('.plot')?.dataset.metric;
    if (plot) window.__drawn.push({ plot, ...what });
  };
  const point = (context, x, y) => points.get(context)?.push([x, y]);
  Object.assign(CanvasRenderingContext2D.prototype, {
    fillRect(x, y, w, h) {
      tell(this, { kind: 'box', colour: this.fillStyle, x, y, w, h });
      return fillRect.call(this, x, y, w, h);
    },
    beginPath() {
      points.set(this, []);
      return beginPath.call(this);
    },
    moveTo(x, y) {
      point(this, x, y);
      return moveTo.call(this, x, y);
    },
    lineTo(x, y) {
      point(this, x, y);
      return lineTo.call(this, x, y);
    },
    stroke() {
      tell(this, {
        kind: 'line', colour: this.strokeStyle, dash: this.getLineDash(), points: [...points.get(this)],
      });
      return stroke.call(this);
    },
    fillText(text, x, y, ...more) {
      tell(this, { kind: 'word', text, x, y });
      return fillText.call(this, text, x, y, ...more);
    },
  });
}

/** One patient in bed 10, with a monitor. */
function ward() {
  const { county } = it;
  county.patients = [make.patient(ZHANG, '张**', '10', make.HEPING.clinic)];
  county.bind(county.monitor, ZHANG);
  return county;
}

/** What is drawn of a plot in their drawer. */
async function drawnOf(plot) {
  const page = await it.open({ before: recorded });
  await page.click('.tile[data-bed="10"] .open');
  await page.shows(`.plot[data-metric="${plot}"] canvas`);
  await page.until('it is drawn', (name) => window.__drawn.some((one) => one.plot === name), plot);
  await page.caughtUp();
  return page.run((name) => {
    const style = getComputedStyle(document.querySelector(`.plot[data-metric="${name}"]`));
    const context = document.createElement('canvas').getContext('2d');
    const colours = Object.fromEntries(['high', 'medium', 'zone', 'zone-deep', 'band', 'limit', 'limit-high'].map((one) => {
      context.fillStyle = style.getPropertyValue(`--${one}`).trim();
      return [context.fillStyle, one];
    }));
    return {
      // The plot is drawn from 40 px on, up to 10 px before the end.
      width: parseFloat(document.querySelector(`.plot[data-metric="${name}"] canvas`).style.width) - 50,
      all: window.__drawn.filter((one) => one.plot === name)
        .map((one) => ({ ...one, colour: colours[one.colour] ?? one.colour })),
    };
  }, plot);
}

const result = (...readings) => ({ readings, moves: [] });
const valueAt = (y, low, high) => high - (y / HIGH_PX) * (high - low);
const near = (a, b, by) => Math.abs(a - b) <= by;

test('alerts stand as ticks under the axis, each at its moment and in the colour of its priority', async () => {
  const county = ward();
  county.results = [result(county.measure(county.monitor, 'glucose', '5.4'))];
  for (const [priority, hours] of [['high', 6], ['medium', 18]]) {
    county.raise(county.monitor, priority, {
      patient: ZHANG, started_at: make.at(county.ms - hours * HOUR_MS),
    });
  }
  const { all, width } = await drawnOf('glucose');
  for (const [priority, share] of [['high', 0.75], ['medium', 0.25]]) {
    const ticks = all.filter(({ kind, colour }) => kind === 'box' && colour === priority);
    assert.ok(ticks.length > 0, `no tick for ${priority}`);
    for (const { x, y, w } of ticks) {
      assert.ok(y >= HIGH_PX && w <= 4 && near((x + w / 2) / width, share, 0.01), `${priority}: ${x} ${y} ${w}`);
    }
  }
});

test('the red zones of glucose end at 3.0, 3.9 and 16.7', async () => {
  const county = ward();
  county.results = [result(county.measure(county.monitor, 'glucose', '5.4'))];
  const { all } = await drawnOf('glucose');
  const zones = (name) => new Set(all.filter(({ kind, colour }) => kind === 'box' && colour === name)
    .map(({ y, h }) => [y + h, y].map((edge) => valueAt(edge, 0, 30).toFixed(1)).join('–')));
  assert.deepEqual([...zones('zone')].sort(), ['16.7–30.0', '3.0–3.9']);
  assert.deepEqual([...zones('zone-deep')], ['0.0–3.0']);
});

test('a glucose beyond what the meter can say stands at the edge with the word Lo or Hi', async () => {
  const county = ward();
  county.results = [['1.1', '<', 4], ['33.3', '>', 8]].map(([value, comparator, hours], index) => (
    result(make.reading(county.monitor, 'glucose', value, county.ms - hours * HOUR_MS, {
      comparator, patient: ZHANG, group: `g/${index}`,
    }))));
  const { all } = await drawnOf('glucose');
  const word = (text) => all.find((one) => one.kind === 'word' && one.text === text);
  assert.ok(word('Lo')?.y > HIGH_PX * 0.9, 'Lo');
  assert.ok(word('Hi')?.y < HIGH_PX * 0.1, 'Hi');
});

test('the bar of a blood pressure has a tick at its mean', async () => {
  const county = ward();
  const of = (metric, value, index) => county.measure(county.monitor, metric, value, { group: 'nibp/1', index });
  county.results = [result(of('nibp_sys', '150', 0), of('nibp_dia', '90', 1), of('nibp_mean', '110', 2))];
  const { all } = await drawnOf('nibp');
  const boxes = all.filter(({ kind }) => kind === 'box');
  const [bar] = boxes.filter(({ w }) => w === 5);
  assert.ok(near(valueAt(bar.y, 30, 230), 150, 0.1) && near(valueAt(bar.y + bar.h, 30, 230), 90, 0.1));
  const ticks = boxes.filter(({ w, x }) => w > 5 && w < 20 && near(x + w / 2, bar.x + 2.5, 0.1));
  assert.ok(ticks.length > 0, 'no tick');
  for (const { y, h } of ticks) assert.ok(near(valueAt(y + h / 2, 30, 230), 110, 0.1));
});

test('the limits in force are dashed lines, the high ones in a colour of their own', async () => {
  const county = ward();
  county.series = [{
    site: county.monitor.site,
    device: county.monitor.device,
    channel: '',
    metric: 'hr',
    unit: '/min',
    points: [{
      at: make.at(county.ms - HOUR_MS), min: '70', median: '72', max: '75', count: 60, backfilled: false, doubted: false,
    }],
  }];
  const { all, width } = await drawnOf('hr');
  const limits = all.filter(({ kind, dash, points }) => kind === 'line' && dash.length > 0 && points.length === 2);
  const found = new Set(limits.map(({ colour, points: [from, to] }) => {
    assert.deepEqual([from[0], Math.round(to[0] - width), from[1] - to[1]], [0, 0, 0]);
    return `${colour} ${valueAt(from[1], 20, 220).toFixed(0)}`;
  }));
  assert.deepEqual([...found].sort(), ['limit 120', 'limit-high 40']);
});
