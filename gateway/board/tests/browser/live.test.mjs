// Checks of what is live and what is old, of phone and strip (nurse board, chapter 10), by number.

import assert from 'node:assert/strict';
import test from 'node:test';
import { block } from './fixtures.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const SMALL_BOX_PX = 4;
const LINE_PX = 1.5;
/** The words of a gap are above this. */
const LABEL_PX = 24;
/** Taller than any wave here: the pen. */
const PEN_PX = 100;

test('14. stale number: it leaves the page', async () => {
  const page = await it.open();
  const { county } = it;
  const tile = '.tile[data-device="heping-monitor-01"]';
  county.measure(county.monitor, 'spo2', '93');
  await page.pass(1_000);
  await page.says(tile, '93');
  await page.pass(13_000);
  await page.says(tile, '93');
  await page.pass(2_000);
  await page.says(`${tile} [data-metric="spo2"]`, '--');
  await page.shows(`${tile} [data-metric="spo2"][data-stale="stale"]`);
  assert.ok(!await page.run((css) => document.querySelector(css).textContent.includes('93'), tile));
  assert.equal(await page.attribute(tile, 'data-hatched'), null);
  await page.pass(46_000);
  await page.shows(`${tile}[data-hatched]`);
  const silent = county.raise(county.monitor, 'low', { metric: null, unit: null });
  await page.says(rowOf(silent), '设备无数据');
  assert.ok(!await page.run((css) => document.querySelector(css).textContent.includes('93'), tile));
});

test('15. connection lost: banners, grey, no false acknowledging, and what was missed', async () => {
  const page = await it.open();
  const { county } = it;
  const row = rowOf(county.raise(county.monitor, 'high'));
  await page.pass(5_000);
  county.cut();
  await page.pass(11_000, { beats: false });
  await page.says('.link-banner[data-link="slow"]', '连接不稳');
  await page.pass(10_000, { beats: false });
  await page.says('.link-banner[data-link="lost"]', '与县平台连接中断');
  assert.equal(await page.run(() => getComputedStyle(document.querySelector('main')).filter),
    'grayscale(1)');
  await page.says(`${row} .ack`, '离线确认');

  // Nothing is sent or shown as done unless the person says: offline.
  await page.click(`${row} .ack`);
  const reason = `${row} [data-reason="at_bedside"]`;
  assert.equal(await page.attribute(reason, 'disabled'), '');
  await page.click(`${row} .consent`);
  await page.click(reason);
  await page.says(`${row} .ack`, '待发送');
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');

  const missed = county.raise(county.monitor, 'medium');
  county.mend();
  for (let tries = 0; tries < 12 && await page.attribute('.topbar', 'data-link') !== 'live';) {
    tries += 1;
    await page.pass(5_000);
  }
  await page.shows('.topbar[data-link="live"]');
  await page.hides('.link-banner');
  await page.shows(rowOf(missed));
  await page.says('.back-banner', '期间新增预警 1 条');
  await page.shows(`${row}[data-state="active_ack"]`);
});

test('16. backfill: no sound, one entry with the moment it happened', async () => {
  const page = await it.open();
  const { county } = it;
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  const before = await page.run(() => window.__test.sounds.length);
  const started = county.ms - 20 * 60_000;
  for (let minute = 0; minute < 20; minute += 1) {
    const moment = new Date(started + minute * 60_000).toISOString();
    county.measure(county.monitor, 'spo2', minute === 5 ? '79' : '97', {
      observed_time: moment, placed_time: moment, measured_time: moment,
      freshness: 'backfill', backfilled: true,
    });
  }
  const alert = county.raise(county.monitor, 'high', {
    started_ms: started + 5 * 60_000,
    state: 'cleared_unack',
    condition: 'cleared_unack',
    cleared_at: new Date(started + 6 * 60_000).toISOString(),
    retro: true,
    late_row: 6,
  });
  await page.says(rowOf(alert), '补传数据,发生于 09:15');
  await page.says('[data-section="late"]', '断网期间事件 (1)');
  await page.pass(60_000);
  assert.equal(await page.run(() => window.__test.sounds.length), before);
  assert.deepEqual(await page.rows(), [alert.id]);
});

test('19. phone: nothing is cut off, the thumb reaches, the strip scrolls in its box', async () => {
  const page = await it.open({ size: [360, 740], mobile: true });
  const { county } = it;
  const row = rowOf(county.raise(county.monitor, 'high'));
  await page.run(() => {
    document.documentElement.style.fontSize = '200%';
  });
  await page.shows(row);
  const tile = '.tile[data-device="heping-monitor-01"]';
  await beats(county, page, tile);
  const wide = await page.run(() => document.scrollingElement.scrollWidth);
  assert.ok(wide <= 360, `the page is ${wide} px wide`);
  const { y, width, height } = await page.box('.thumb');
  assert.ok(height >= 44 && width >= 44 && y >= 370 && y + height <= 740, `${y} ${height}`);
  const paper = await page.run((css) => {
    const { scrollWidth, clientWidth } = document.querySelector(`${css} .paper`);
    return [scrollWidth, clientWidth];
  }, tile);
  assert.ok(paper[0] > paper[1] && paper[1] <= 360, String(paper));
  await page.click('.thumb');
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.shows(`${row}[data-state="active_ack"]`);
});

/** Seconds of a square wave of 1 Hz, 1 mV high; `without` leaves samples out of the last second. */
async function beats(county, page, tile, { scale = '0.001', without = 0 } = {}) {
  for (let second = 0; second < 8; second += 1) {
    const samples = Array.from({ length: 250 }, (_, index) => (index < 125 ? 0 : 1000));
    const start = county.ms - 1000;
    const parts = second === 4 && without
      ? [block(county.monitor, samples.slice(0, 20), start, { scale }),
        block(county.monitor, samples.slice(20 + without), start + (20 + without) * 4, { scale })]
      : [block(county.monitor, samples, start, { scale })];
    county.wave(county.monitor, parts);
    await page.pass(1000);
  }
  await page.shows(`${tile} .strip[data-live="live"]`);
}

/** In the page: what is drawn on the strip, column by column. */
async function drawn(css) {
  const two = () => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
  });
  for (let turn = 0; turn < 5; turn += 1) await two();
  const canvas = document.querySelector(`${css} canvas`);
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const style = getComputedStyle(document.querySelector(`${css} .paper`));
  const rgb = (name) => style.getPropertyValue(name).trim().match(/\w\w/g).map((one) => parseInt(one, 16));
  const at = (x, y) => [0, 1, 2].map((part) => data[(y * width + x) * 4 + part]);
  const apart = (a, b) => Math.hypot(...a.map((one, part) => one - b[part]));
  const [trace, gap, paper] = ['--trace', '--gap', '--paper'].map(rgb);
  // At least a third of the line's colour: a line between two columns is in both.
  const isTrace = (colour) => apart(colour, trace) < 0.65 * apart(paper, trace);
  const isGap = (colour) => apart(colour, gap) < 30;
  const columns = [];
  for (let x = 0; x < width; x += 1) {
    const ys = [];
    for (let y = 0; y < height; y += 1) if (isTrace(at(x, y)) && !isGap(at(x, y))) ys.push(y);
    columns.push({ ys, gap: isGap(at(x, height - 6)) && isGap(at(x, height - 20)) });
  }
  return columns;
}

/** Where the trace goes straight up or down, and how high. */
function edges(columns, from) {
  const found = [];
  columns.forEach(({ ys }, x) => {
    if (x < from || ys.length < 20 || ys.length > PEN_PX) return;
    const last = found[found.length - 1];
    const tall = { x, top: Math.min(...ys), bottom: Math.max(...ys) };
    if (last && x - last.x < 5) {
      found[found.length - 1] = { ...tall, x: (last.x + x) / 2 };
    } else found.push(tall);
  });
  return found;
}

test('20. strip scale: boxes are true, gaps are gaps, no millivolts without a scale', async () => {
  const page = await it.open();
  const { county } = it;
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  await beats(county, page, tile);
  await page.says(`${tile} .strip-scale`, '25 mm/s 10 mm/mV');
  const pulse = 2 * 5 * SMALL_BOX_PX;
  const tall = edges(await page.run(drawn, tile), pulse + 1);
  assert.ok(tall.length >= 6, `${tall.length} edges`);
  // Up and down by turns, half a second apart: two make the distance of two rising ones.
  const apart = tall.slice(2).map(({ x }, index) => (x - tall[index].x) / SMALL_BOX_PX)
    .filter((boxes) => boxes < 40);
  assert.ok(apart.length >= 3 && apart.every((boxes) => Math.abs(boxes - 25) <= 0.5), String(apart));
  const high = tall.map(({ top, bottom }) => (bottom - top + 1 - LINE_PX) / SMALL_BOX_PX);
  assert.ok(high.every((boxes) => Math.abs(boxes - 10) <= 0.3), String(high));

  await beats(county, page, tile, { without: 100 });
  const columns = await page.run(drawn, tile);
  const widths = [];
  columns.forEach(({ gap }, x) => {
    if (!gap) return;
    if (columns[x - 1]?.gap) widths[widths.length - 1] += 1;
    else widths.push(1);
  });
  assert.ok(widths.some((px) => Math.abs(px / SMALL_BOX_PX - 10) <= 0.5), String(widths));
  const inside = columns.filter((_, x) => [x - 1, x, x + 1].every((near) => columns[near]?.gap));
  const crossed = inside.filter(({ ys }) => ys.some((y) => y > LABEL_PX));
  assert.deepEqual(crossed, [], 'a line crosses the gap');

  await page.pass(40_000);
  await beats(county, page, tile, { scale: null });
  await page.says(`${tile} .strip-scale`, '幅度未定标');
  const strip = await page.text(`${tile} .strip`);
  assert.ok(!strip.includes('mm/mV') && !strip.includes('mV'), strip);
});
