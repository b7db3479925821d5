// Check 20 (nurse board, chapter 10): what is drawn on the strip, looked at pixel by pixel.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  HEPING, block, device, patient,
} from './fixtures.mjs';
import { stand } from './stand.mjs';

const it = stand();
const SMALL_BOX_PX = 4;
const LINE_PX = 1.5;
/** In small boxes: the words of a gap are above this. */
const LABEL = 6;
/** Taller than any wave here: the pen. */
const PEN = 25;
/** Lower than any wave here. */
const LOW = 5;

/** A second of a square wave of 1 Hz, 1 mV high. */
const samples = Array.from({ length: 250 }, (_, index) => (index < 125 ? 0 : 1000));

/** Eight seconds of it; `without` leaves samples out of the fifth. */
async function beats(county, page, tile, { scale = '0.001', without = 0 } = {}) {
  for (let second = 0; second < 8; second += 1) {
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
async function drawn(css, box) {
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
    columns.push({ ys, gap: [1.5, 5].every((boxes) => isGap(at(x, Math.round(height - boxes * box)))) });
  }
  return columns;
}

/** Where the trace goes straight up or down, and how high, left of the pen or right of it. */
function edges(columns, from, box = SMALL_BOX_PX) {
  const pen = columns.findIndex(({ ys }) => ys.length > PEN * box);
  const found = [];
  columns.forEach(({ ys }, x) => {
    if (x < from || ys.length < LOW * box || ys.length > PEN * box) return;
    const last = found[found.length - 1];
    const tall = {
      x, top: Math.min(...ys), bottom: Math.max(...ys), old: x > pen,
    };
    if (last && x - last.x < 1.25 * box) {
      // One that lies between two columns is partly in each.
      const [top, bottom] = [Math.min(last.top, tall.top), Math.max(last.bottom, tall.bottom)];
      found[found.length - 1] = { ...tall, x: (last.x + x) / 2, top, bottom };
    } else found.push(tall);
  });
  return found;
}

/** How wide the gaps are. */
function gapsOf(columns) {
  const widths = [];
  columns.forEach(({ gap }, x) => {
    if (!gap) return;
    if (columns[x - 1]?.gap) widths[widths.length - 1] += 1;
    else widths.push(1);
  });
  return widths;
}

/** Columns within a gap that have something drawn in them. */
function crossing(columns, box = SMALL_BOX_PX) {
  const inside = columns.filter((_, x) => [x - 1, x, x + 1].every((near) => columns[near]?.gap));
  return inside.filter(({ ys }) => ys.some((y) => y > LABEL * box));
}

/** Screens: pixels of a dot, and of a millimetre where somebody held a card to it. */
const SCREENS = {
  '': {}, ', on a zoomed page': { scale: 1.25 }, ', on a fine screen': { scale: 2 },
  ', on a calibrated screen': { pxPerMm: 5.3 }, ', on a calibrated fine screen': { scale: 2, pxPerMm: 6.2 },
};

for (const [where, { scale = 1, pxPerMm }] of Object.entries(SCREENS)) test(`20. strip scale: boxes are true, gaps are gaps, no millivolts without a scale${where}`, async () => {
  const kept = pxPerMm ? { 'board.paper': JSON.stringify({ pxPerMm, ratio: scale }) } : {};
  const page = await it.open({ scale, kept });
  const { county } = it;
  const box = (pxPerMm ?? SMALL_BOX_PX) * scale;
  const line = LINE_PX * scale;
  const columnsOf = () => page.run(drawn, tile, box);
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  await beats(county, page, tile);
  await page.says(`${tile} .strip-scale`, '25 mm/s 10 mm/mV');
  await page.says(`${tile} .strip-facts`, '滤波:设备未说明');
  const pulse = 2 * 5 * box;
  const tall = edges(await columnsOf(), pulse + 1, box);
  assert.ok(tall.length >= 6, `${tall.length} edges`);
  // Up and down by turns, half a second apart: two make the distance of two rising ones.
  const pairs = tall.slice(2).map((edge, index) => [tall[index], edge])
    .filter(([one, next]) => one.old === next.old);
  const apart = pairs.map(([one, next]) => (next.x - one.x) / box);
  assert.ok(apart.length >= 3 && apart.every((boxes) => Math.abs(boxes - 25) <= 0.5), String(apart));
  const high = tall.map(({ top, bottom }) => (bottom - top + 1 - line) / box);
  assert.ok(high.every((boxes) => Math.abs(boxes - 10) <= 0.3), String(high));

  // Left of the trace a millivolt by which all of it is read, 5 mm wide.
  const calibration = edges((await columnsOf()).slice(0, pulse), 0, box);
  assert.deepEqual(calibration.map(({ top, bottom }) => (
    Math.round((bottom - top + 1 - line) / box))), [10, 10]);
  const wide = (calibration[1].x - calibration[0].x) / box;
  assert.ok(Math.abs(wide - 5) <= 0.5, `${wide} mm`);

  // What was drawn is not stretched to another size.
  const shown = await page.run((css) => {
    const canvas = document.querySelector(`${css} canvas`);
    const { width, height } = canvas.getBoundingClientRect();
    return [width / canvas.width, height / canvas.height];
  }, tile);
  assert.ok(shown.every((one) => Math.abs(one * scale - 1) < 0.01), String(shown));
  const note = '屏幕未校准,格数有效,毫米不准';
  assert.equal(await page.text(`${tile} .strip-note`), pxPerMm ? '' : note);

  await beats(county, page, tile, { without: 100 });
  const columns = await columnsOf();
  const widths = gapsOf(columns);
  assert.ok(widths.some((px) => Math.abs(px / box - 10) <= 0.5), String(widths));
  assert.deepEqual(crossing(columns, box), [], 'a line crosses the gap');
  // In front of the pen 10 mm of empty paper, before what is left of the last sweep.
  const sweep = columns.slice(pulse);
  const pen = sweep.findIndex(({ ys }) => ys.length > PEN * box);
  const ahead = [...sweep.slice(pen), ...sweep.slice(0, pen)];
  const empty = ahead.findIndex(({ ys, gap }) => !gap && ys.length > 0 && ys.length <= PEN * box);
  assert.ok(Math.abs(empty / box - 10) <= 1, `${empty} px`);

  await page.pass(40_000);
  await beats(county, page, tile, { scale: null });
  await page.says(`${tile} .strip-scale`, '幅度未定标');
  const everything = await page.run(() => document.body.innerHTML);
  assert.ok(everything.includes('mm/s') && !everything.includes('mV'), 'millivolts without a scale');
});

test('a screen that is zoomed after somebody held a card to it counts as not calibrated', async () => {
  const kept = { 'board.paper': JSON.stringify({ pxPerMm: 5.3, ratio: 1 }) };
  const page = await it.open({ kept });
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  await beats(it.county, page, tile);
  const { height } = await page.box(`${tile} canvas`);
  assert.equal(Math.round(height), 159);
  assert.equal(await page.text(`${tile} .strip-note`), '');
  await page.size(1400, 900, false, 1.25);
  await beats(it.county, page, tile);
  await page.says(`${tile} .strip-note`, '屏幕未校准,格数有效,毫米不准');
  assert.equal((await page.box(`${tile} canvas`)).height, 120);
});

test('a card is not held to a box that has no room for it', async () => {
  const { county } = it;
  county.patients = [patient('p1', '张*', '3', county.monitor.clinic)];
  county.bind(county.monitor, 'p1');
  const page = await it.open({ size: [360, 740], mobile: true });
  await page.run(() => {
    window.location.hash = '#bed=p1';
  });
  await page.shows('.drawer .strip');
  await waves(page, tall, 6);
  await page.run(() => document.querySelector('.drawer .freeze').click());
  await page.shows('.strip-review');
  const hold = (px) => page.run((wide) => {
    const slider = document.querySelector('.ruler input');
    slider.value = String(wide);
    slider.dispatchEvent(new Event('input'));
    document.querySelector('.ruler .primary').click();
    return localStorage.getItem('board.paper');
  }, px);
  await page.run(() => [...document.querySelectorAll('.strip-review button')]
    .find((one) => one.textContent === '校准屏幕').click());
  assert.equal(await hold(540), null);
  await page.says('.ruler .problem', '这里没有银行卡宽');
  // Turned, there is room.
  await page.size(740, 360, true);
  assert.deepEqual(JSON.parse(await hold(540)), {
    speed: 25, gain: 10, pxPerMm: 540 / 85.6, ratio: 1,
  });
  await page.hides('.ruler');
});

/** In the page: what the strips say from now on, with each drawing anew. */
function hearWords() {
  const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.clearRect = function cleared(...box) {
    window.__words = [];
    return clearRect.apply(this, box);
  };
  CanvasRenderingContext2D.prototype.fillText = function written(text, ...place) {
    window.__words.push(text);
    return fillText.call(this, text, ...place);
  };
}

test('20. strip scale: beats that went by without a link are a gap of their length, until they come', async () => {
  const page = await it.open();
  const { county } = it;
  const { monitor } = county;
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  const told = [];
  const speak = async (seconds) => {
    for (let second = 0; second < seconds; second += 1) {
      told.push(county.ms - 1000);
      county.wave(monitor, [block(monitor, samples, county.ms - 1000)]);
      await page.pass(1000, { beats: county.streams.length > 0 });
    }
  };
  await speak(5);
  await page.shows(`${tile} .strip[data-live="live"]`);
  await page.run(hearWords);
  county.cut();
  await speak(2);
  assert.equal(await page.attribute(`${tile} .strip`, 'data-live'), 'live');
  const missed = told.slice(-2);
  county.mend();
  await page.wait('the stream is open again', () => county.streams.length > 0);
  await page.caughtUp();
  await speak(4);
  let columns = await page.run(drawn, tile, SMALL_BOX_PX);
  // It may go round the edge.
  const wide = gapsOf(columns).reduce((a, b) => a + b, 0) / SMALL_BOX_PX;
  assert.ok(Math.abs(wide - 50) <= 0.5, `the gap has ${wide} boxes`);
  assert.deepEqual(crossing(columns), [], 'a line crosses the gap');
  assert.deepEqual(await page.run(() => window.__words), ['无信号 2.0 秒']);

  // What the box sends late, but while it still counts as live, is drawn where it belongs.
  county.wave(monitor, missed.map((start) => block(monitor, samples, start)));
  await page.caughtUp();
  // The pen waits for what comes so late, and goes over it again.
  await speak(4);
  await page.says(`${tile} .strip-facts`, '延迟 6.5 秒');
  columns = await page.run(drawn, tile, SMALL_BOX_PX);
  assert.deepEqual(gapsOf(columns), [], 'the gap is filled');
  const pulse = 2 * 5 * SMALL_BOX_PX;
  // Two edges each second of the sweep, but where the eraser is.
  const wanted = 2 * ((columns.length - pulse) / (25 * SMALL_BOX_PX) - 0.4);
  const found = edges(columns, pulse + 1).length;
  assert.ok(Math.abs(found - wanted) <= 1, `${found} edges of ${wanted}`);
});

test('15. connection lost: of a strip nobody says that its lead has no signal', async () => {
  const page = await it.open();
  const { county } = it;
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  await beats(county, page, tile);
  county.cut();
  await page.pass(25_000, { beats: false });
  await page.says(`${tile} .strip-note`, '连接中断,波形未知');
  assert.ok(!(await page.text(tile)).includes('该导联无波形'));
});

/** A tall beat a second, 40 ms wide: what the paper holds ends at 1.5 mV. */
const tall = Array.from({ length: 250 }, (_, index) => (index >= 100 && index < 110 ? 2200 : 0));

/** Seconds of these samples. */
async function waves(page, samples, seconds, fields = {}) {
  const { county } = it;
  for (let second = 0; second < seconds; second += 1) {
    county.wave(county.monitor, [block(county.monitor, samples, county.ms - 1000, fields)]);
    await page.pass(1000);
  }
}

/** In the page: how many red marks there are at the upper and lower edge of a strip, and how wide. */
async function marks(canvas, red) {
  for (let turn = 0; turn < 5; turn += 1) {
    await new Promise((done) => {
      requestAnimationFrame(() => requestAnimationFrame(done));
    });
  }
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const rgb = red.match(/\w\w/g).map((one) => parseInt(one, 16));
  return [0, height - 1].map((y) => {
    const widths = [];
    let inside = false;
    for (let x = 0; x < width; x += 1) {
      const is = rgb.every((one, part) => Math.abs(data[(y * width + x) * 4 + part] - one) < 30);
      if (is && inside) widths[widths.length - 1] += 1;
      else if (is) widths.push(1);
      inside = is;
    }
    return widths;
  });
}

const marksOf = (page, css) => page.run(`async (css) => {
  const canvas = document.querySelector(css + ' canvas');
  const red = getComputedStyle(canvas.parentElement).getPropertyValue('--rail').trim();
  return (${marks})(canvas, red);
}`, css);

test('a beat taller than the paper has a red mark at the edge and a word, live, frozen and on paper', async () => {
  const page = await it.open();
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  await waves(page, tall, 8);
  await page.says(`${tile} .strip-beyond`, '超出纸高,请减小增益');
  const [upper, lower] = await marksOf(page, `${tile} .strip`);
  assert.ok(upper.length >= 5 && upper.every((px) => px >= SMALL_BOX_PX), String(upper));
  assert.deepEqual(lower, []);
  const choose = (css, gain) => page.run((one, value) => {
    const select = document.querySelector(`${one} .gain`);
    select.value = value;
    select.dispatchEvent(new Event('change'));
  }, css, gain);

  await page.click(`${tile} .open`);
  await waves(page, tall, 4);
  await page.click('.drawer .freeze');
  const frozen = '.strip-review';
  // Ten millimetres more than the live strip: two millivolts.
  await page.says(`${frozen} .strip-beyond`, '超出纸高,请减小增益');
  assert.ok((await marksOf(page, frozen))[0].length >= 3);
  const still = await page.text(`${frozen} .strip-facts`);
  await waves(page, tall, 2);
  assert.equal(await page.text(`${frozen} .strip-facts`), still);

  const paper = await page.paper();
  const print = () => page.run(() => {
    document.querySelector('#paper')?.remove();
    [...document.querySelectorAll('.strip-review button')].find((one) => (
      one.textContent.includes('A4'))).click();
  });
  await print();
  assert.ok(await paper('it says so', (sheet) => sheet.body.innerText.includes('超出纸高,请减小增益')));
  const ink = await paper('its marks', `(sheet) => {
    const canvas = sheet.querySelector('canvas');
    return canvas && (${marks})(canvas, '#D50000');
  }`);
  assert.ok(ink[0].length >= 3 && !ink[1].length, JSON.stringify(ink));

  // With less gain all of it is there, and nothing is said.
  await choose(frozen, '5');
  await page.until('the word is gone', (css) => document.querySelector(`${css} .strip-beyond`).textContent === '', frozen);
  assert.deepEqual(await marksOf(page, frozen), [[], []]);
  await print();
  assert.ok(await paper('it says nothing', (sheet) => (
    sheet.body.dataset.printed && !sheet.body.innerText.includes('超出纸高'))));
  await page.pass(1_000);
  assert.deepEqual(await marksOf(page, '.drawer .strip:not(.strip-review)'), [[], []]);
});

test('what the device itself calls saturated has a line at both edges, as long as it is', async () => {
  const page = await it.open();
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  const flat = Array.from({ length: 250 }, () => 1200);
  await waves(page, flat, 4);
  await waves(page, flat, 1, { flags: ['saturation'] });
  await waves(page, flat, 3);
  const [upper, lower] = await marksOf(page, `${tile} .strip`);
  const second = 25 * SMALL_BOX_PX;
  assert.ok(upper.length === 1 && Math.abs(upper[0] - second) <= 2, String(upper));
  assert.deepEqual(lower, upper);
  assert.equal(await page.text(`${tile} .strip-beyond`), '');
});

test('a live strip is frozen, whoever is on the monitor and whatever comes then', async () => {
  const { county } = it;
  county.patients = [patient('p1', '张*', '3', county.monitor.clinic)];
  county.bind(county.monitor, 'p1');
  const page = await it.open();
  const tile = '.tile[data-bed="3"]';
  await page.shows(`${tile} .strip`);
  await waves(page, tall, 6);
  await page.click(`${tile} .open`);
  await waves(page, tall, 1);
  await page.click('.drawer .freeze');
  const frozen = '.strip-review';
  await page.says(`${frozen} .strip-facts`, '3床 张*');
  await page.says(`${frozen} .strip-facts`, '存档');
  const drawn = () => page.run((css) => document.querySelector(`${css} canvas`).toDataURL(), frozen);
  const before = await drawn();
  const words = await page.text(`${frozen} .strip-facts`);
  county.move(county.monitor);
  const flat = Array.from({ length: 250 }, () => 0);
  await waves(page, flat, 5);
  assert.equal(await page.text(`${frozen} .strip-facts`), words);
  assert.equal(await drawn(), before);
  await page.key('Escape');
  await page.hides(frozen);
});

test('below 250 Hz a strip is for the rhythm only; from there on it is not called so', async () => {
  const page = await it.open();
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.shows(`${tile} .strip`);
  await waves(page, tall.slice(0, 125), 4, { hz: 125 });
  await page.says(`${tile} .strip-facts`, '125 Hz');
  await page.says(`${tile} .strip-facts`, '仅供心律参考');
  await waves(page, tall, 2);
  await page.says(`${tile} .strip-facts`, '250 Hz');
  assert.ok(!(await page.text(`${tile} .strip-facts`)).includes('仅供心律参考'));
});

for (const [metric, name] of [['ecg_wave', '心电(导联不详)'], ['ecg_wave_i', '心电 I']]) {
  test(`the strip of a strap has the lead that the strap says: ${name}`, async () => {
    const { county } = it;
    const strap = device(HEPING, 'heping-strap-01', 'ecg_strap', county.ms);
    county.devices.push(strap);
    const page = await it.open();
    const strip = `.tile[data-device="${strap.device}"] .strip`;
    await page.shows(strip);
    await page.pass(1000);
    await page.wait('its leads are asked for', () => county.asked.concat(county.streams)
      .some(({ url }) => decodeURIComponent(url).includes(`:${strap.device}:${metric}`)));
    for (let second = 0; second < 6; second += 1) {
      county.wave(strap, [block(strap, samples, county.ms - 1000, { metric, scale: null })]);
      await page.pass(1000);
    }
    await page.shows(`${strip}[data-live="live"][data-metric="${metric}"]`);
    const lead = () => page.run((css) => document.querySelector(css).selectedOptions[0].textContent, `${strip} select`);
    assert.equal(await lead(), name);
    // What is kept around an alert is asked for by the same lead.
    county.raise(strap, 'high', { metric: 'hr' });
    await page.click(`.tile[data-device="${strap.device}"] .open`);
    await page.click('.drawer-alert button');
    await page.wait('it is asked for', () => county.asked
      .some(({ url }) => url.includes('/waveforms?') && url.includes(`metric=${metric}&`)));
  });
}
