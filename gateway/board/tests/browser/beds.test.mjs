// Checks of the bed grid, the drawer, trends and strips (nurse board, chapter 10), by number and name.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as make from './fixtures.mjs';
import { stand } from './stand.mjs';

const it = stand();
const [ZHANG, LI] = [1, 2].map((number) => `p-${String(number).padStart(32, '0')}`);
const CLINIC = make.HEPING.clinic;

/** Two patients in beds 9 and 10; the monitor is on the one in bed 10. */
function ward() {
  const { county } = it;
  county.patients = [
    make.patient(ZHANG, '张**', '10', CLINIC, { groups: ['elderly'] }),
    make.patient(LI, '李**', '9', CLINIC, { age_months: 60, groups: ['child'], sex: 'female' }),
  ];
  county.bind(county.monitor, ZHANG);
  return county;
}

const tile = (bed) => `.tile[data-bed="${bed}"]`;
const number = (of, metric) => `[data-device="${of.device}"] [data-metric="${metric}"]`;

const beijing = (ms) => new Date(ms + 8 * 3_600_000).toISOString().slice(11, 16);

/** Opens the drawer of a bed. */
async function drawerOf(page, bed) {
  await page.click(`${tile(bed)} .open`);
  await page.shows('.drawer');
}

test('14. stale number: -- after 15 s, hatched after 60 s, the old number nowhere in the tile', async () => {
  const county = ward();
  const { monitor } = county;
  county.measure(monitor, 'hr', '137');
  const page = await it.open();
  const own = `${tile(10)} ${number(monitor, 'hr')}`;
  await page.says(own, '137');
  await page.pass(4_000);
  assert.equal(await page.attribute(own, 'data-stale'), 'fresh');
  assert.equal(await page.attribute(own, 'data-age-s'), '4');
  await page.pass(6_000);
  assert.equal(await page.attribute(own, 'data-stale'), 'ageing');
  await page.says(own, '137');
  await page.pass(6_000);
  assert.equal(await page.attribute(own, 'data-stale'), 'stale');
  assert.equal(await page.text(own), '--');
  assert.ok(!(await page.run((css) => document.querySelector(css).textContent, tile(10))).includes('137'));
  assert.equal(await page.attribute(tile(10), 'data-hatched'), null);
  await page.pass(45_000);
  assert.equal(await page.attribute(tile(10), 'data-hatched'), 'true');
  county.raise(monitor, 'medium', { metric: null, patient: ZHANG });
  await page.pass(1_000);
  await page.pass(1_000);
  await page.says(`${tile(10)} .tile-alert`, '设备无数据');
});

test('16. backfill: no sound, one retro entry with its own time, hollow points in the trend', async () => {
  const county = ward();
  const { monitor } = county;
  const page = await it.open();
  const from = county.ms - 20 * 60_000;
  const point = (minute, backfilled) => ({
    at: make.at(from + minute * 60_000), min: '60', median: '72', max: '80', count: 60, backfilled, doubted: false,
  });
  county.series = [{
    site: monitor.site,
    device: monitor.device,
    channel: '',
    metric: 'hr',
    unit: '/min',
    points: Array.from({ length: 20 }, (_, minute) => point(minute, minute < 15)),
  }];
  for (let minute = 0; minute < 15; minute += 1) {
    const moment = make.at(from + minute * 60_000);
    county.measure(monitor, 'hr', '150', {
      observed_time: moment, placed_time: moment, measured_time: moment, backfilled: true,
      freshness: 'late',
    });
  }
  const retro = county.raise(monitor, 'high', {
    retro: true, state: 'cleared_unack', condition: 'cleared_unack', patient: ZHANG,
    started_ms: from, cleared_at: make.at(from + 300_000),
  });
  await page.pass(3_000);
  assert.deepEqual(await page.run(() => window.__test.sounds), []);
  await page.shows(`[data-alert-id="${retro.id}"]`);
  const rows = await page.rows();
  assert.equal(rows.filter((id) => id === retro.id).length, 1);
  await page.says(`[data-alert-id="${retro.id}"]`, beijing(from));
  await drawerOf(page, 10);
  await page.shows('.plot[data-metric="hr"]');
  assert.equal(await page.attribute('.plot[data-metric="hr"]', 'data-hollow'), '15');
  // A late number never stands where a live one stands.
  assert.equal(await page.text(`${tile(10)} ${number(monitor, 'hr')}`), '--');
});

/** In the page: at which x of the strip's canvas the trace goes up, and how high it is. */
function edges(css) {
  const canvas = document.querySelector(css);
  const { width, height } = canvas;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const ratio = window.devicePixelRatio;
  const own = getComputedStyle(canvas.parentElement).getPropertyValue('--trace').trim();
  const colour = [1, 3, 5].map((at) => parseInt(own.slice(at, at + 2), 16));
  const rows = [];
  for (let x = 0; x < width; x += 1) {
    const column = [];
    for (let y = 0; y < height; y += 1) {
      const at = (y * width + x) * 4;
      const apart = colour.reduce((sum, one, part) => sum + Math.abs(one - pixels[at + part]), 0);
      if (apart < 60) column.push(y);
    }
    rows.push(column.length ? [Math.min(...column) / ratio, Math.max(...column) / ratio] : null);
  }
  return rows;
}

/** Where columns are taller than half of the tallest: the steep flanks. */
function flanks(rows) {
  const tall = Math.max(...rows.map((row) => (row ? row[1] - row[0] : 0)));
  const at = rows.map((row, x) => (row && row[1] - row[0] > tall * 0.8 ? x : -1)).filter((x) => x >= 0);
  return { tall, at: at.filter((x, index) => index === 0 || x - at[index - 1] > 2) };
}

/** A square of 1 mV and 1 Hz at 250 Hz. */
const square = Array.from({ length: 250 }, (_, index) => (index < 125 ? 1000 : 0));

async function sweep(page, seconds, block = {}) {
  const { county } = it;
  for (let second = 0; second < seconds; second += 1) {
    county.wave(county.monitor, [make.block(county.monitor, square, county.ms - 1000, block)]);
    await page.pass(1_000);
  }
  await page.pass(100);
  await page.shows('.strip[data-live="live"] canvas');
  await page.run(() => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
  }));
}

test('20. strip scale: 25 boxes a second, 10 a millivolt, a gap of its length, no scale without one', async () => {
  const county = ward();
  const page = await it.open();
  await page.shows('.strip');
  await sweep(page, 5);
  await page.says('.strip-scale', '25 mm/s 10 mm/mV');
  const box = 4;
  const pulse = 10 * box;
  const rows = (await page.run(edges, '.tile .strip canvas')).slice(pulse);
  const { at, tall } = flanks(rows);
  assert.ok(at.length >= 4, `flanks at ${at}`);
  // Up and down follow each other: every second one goes the same way.
  const periods = at.slice(2).map((x, index) => (x - at[index]) / box);
  const whole = periods.filter((boxes) => boxes < 30);
  assert.ok(whole.length && whole.every((boxes) => Math.abs(boxes - 25) <= 0.5), `${periods}`);
  assert.ok(Math.abs(tall / box - 10) <= 0.3 + 0.5, `${tall / box} boxes high`);

  // 0.4 s of samples are lost.
  county.wave(county.monitor, [
    make.block(county.monitor, square.slice(0, 75), county.ms - 1000),
    make.block(county.monitor, square.slice(175), county.ms - 300),
  ]);
  await page.pass(4_000);
  await page.run(() => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
  }));
  const after = (await page.run(edges, '.tile .strip canvas')).slice(pulse);
  const empty = [];
  after.forEach((row, x) => {
    if (row) return;
    const last = empty[empty.length - 1];
    if (last && last.to === x - 1) last.to = x;
    else empty.push({ from: x, to: x });
  });
  const gaps = empty.map(({ from, to }) => (to - from + 1) / box);
  assert.ok(gaps.some((boxes) => Math.abs(boxes - 10) <= 0.5), `${gaps}`);
});

test('20. a device without a scale: 幅度未定标, no mm/mV anywhere', async () => {
  ward();
  const page = await it.open();
  await page.shows('.strip');
  await sweep(page, 3, { scale: null });
  await page.says('.tile .strip-scale', '幅度未定标');
  assert.ok(!(await page.text('body')).includes('mm/mV'));
  await page.hides('.tile .strip .gain');
});

test('a tile per bed in fixed places, as people count; devices on nobody are their own', async () => {
  const county = ward();
  county.measure(county.oximeter, 'spo2', '96');
  const page = await it.open();
  await page.says(tile(10), '张**');
  const beds = await page.run(() => [...document.querySelectorAll('.tile')].map((one) => (
    one.dataset.bed)));
  assert.deepEqual(beds, ['', '9', '10']);
  await page.says('.tile[data-device="dongfeng-spo2-01"]', '未关联患者');
  await page.says(tile(10), '老');
  await page.says(tile(9), '儿童');
  await page.says(tile(9), '无设备');
  // Somebody puts the oximeter's neighbour on the child.
  const other = make.device(make.HEPING, 'heping-spo2-02', 'oximeter', county.ms);
  county.devices.push(other);
  county.bind(other, LI);
  await page.pass(6_000);
  county.measure(other, 'spo2', '98');
  await page.pass(6_000);
  await page.shows(`${tile(9)} ${number(other, 'spo2')}`);
});

test('a value and a device without rules say so', async () => {
  const county = ward();
  const scale = make.device(make.HEPING, 'heping-scale-01', 'scale', county.ms);
  county.devices.push(scale);
  county.measure(scale, 'weight', '61.2');
  county.patients[0].ruled = { ...make.RULED, classes: ['hr'] };
  county.measure(county.monitor, 'hr', '80');
  county.measure(county.monitor, 'spo2', '97');
  const page = await it.open();
  await page.says('.tile[data-device="heping-scale-01"] .line-head', '无规则');
  await page.says(`${tile(10)} .cell[data-cell="spo2"]`, '无规则');
  assert.ok(!(await page.text(`${tile(10)} .cell[data-cell="hr"]`)).includes('无规则'));
  await page.pass(1_000);
  await page.says('.grid h2', '无规则设备 1');
});

test('a reading is moved to another patient in two clicks, and back by undo', async () => {
  const county = ward();
  const result = make.reading(county.monitor, 'glucose', '5.4', county.ms - 60_000, {
    patient: ZHANG, bound_patient: ZHANG, lane: 'urgent',
  });
  county.results = [{ readings: [result], moves: [] }];
  const page = await it.open();
  await drawerOf(page, 10);
  await page.click('.not-this');
  assert.equal(county.asked.some(({ url }) => url.endsWith('/reassign')), false);
  await page.click(`.choice [data-patient="${LI}"]`);
  await page.shows('.result[data-moved]');
  await page.says('.result', '由 li 转到');
  const moved = county.asked.filter(({ url }) => url.endsWith('/reassign'));
  assert.deepEqual(moved.map(({ body }) => body), [
    { from: ZHANG, patient: LI, reason: 'wrong_patient' },
  ]);
  await page.click('.result-undo button');
  await page.hides('.result[data-moved]');
  assert.equal(county.results[0].readings[0].patient, ZHANG);
  // The chance to undo is over after ten seconds.
  await page.click('.not-this');
  await page.click('.choice [data-patient=""]');
  await page.shows('.result-undo');
  await page.pass(11_000);
  await page.hides('.result-undo');
});

test('a deep link opens a bed, Esc goes back, and no name is in address, title or storage', async () => {
  ward();
  const page = await it.open();
  await drawerOf(page, 10);
  const { hash, title, kept } = await page.run(() => ({
    hash: window.location.hash, title: document.title, kept: JSON.stringify({ ...localStorage }),
  }));
  assert.equal(hash, `#bed=${ZHANG}`);
  for (const text of [hash, title, kept]) assert.ok(!text.includes('张'), text);
  await page.key('Escape');
  await page.hides('.drawer');
  assert.equal(await page.run(() => window.location.hash), '');
  await page.run((key) => {
    window.location.hash = `#bed=${key}`;
  }, LI);
  await page.says('.drawer-head', '李**');
});

test('a name is shown for half a minute', async () => {
  const county = ward();
  const { ruled: _, ...whole } = county.patients[0];
  county.answer({
    method: 'POST', path: '/unmask', once: true, status: 200, body: { ...whole, name: '张测试' },
  });
  const page = await it.open();
  await drawerOf(page, 10);
  await page.click('.reveal');
  await page.says('.drawer-head', '张测试');
  await page.pass(31_000);
  await page.says('.drawer-head', '张**');
  assert.ok(!(await page.run(() => document.body.textContent)).includes('张测试'));
});

test('a kiosk sees everything and does nothing', async () => {
  const county = ward();
  county.people.hall = 'kiosk';
  county.results = [{
    readings: [make.reading(county.monitor, 'glucose', '5.4', county.ms, { patient: ZHANG })], moves: [],
  }];
  const page = await it.open({ user: 'hall' });
  await drawerOf(page, 10);
  await page.shows('.result');
  for (const css of ['.reveal', '.not-this', '.limit-form', '.drawer-entries .choice']) {
    await page.hides(css);
  }
});

test('the language leaves no key behind', async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '80');
  county.raise(county.monitor, 'high', { patient: ZHANG });
  const page = await it.open();
  await drawerOf(page, 10);
  for (const _ of [0, 1]) {
    await page.pass(2_000);
    const keys = await page.run(() => document.body.innerText.match(/\b[a-z_]+\.[a-z_]+\.?[a-z_]*\b/g));
    assert.deepEqual((keys || []).filter((key) => !/^\d/.test(key)), []);
    await page.run(() => document.activeElement.blur());
    await page.key('l');
  }
});

test('a reading of one bed touches one tile', async () => {
  const county = ward();
  const beds = Array.from({ length: 200 }, (_, index) => (
    make.device(make.HEPING, `heping-spo2-${index + 100}`, 'oximeter', county.ms)));
  county.devices.push(...beds);
  for (const one of beds) county.measure(one, 'spo2', '97');
  const page = await it.open();
  await page.shows('.tile[data-device="heping-spo2-299"]');
  await page.pass(1_000);
  await page.run(() => {
    window.touched = new Set();
    new MutationObserver((changes) => {
      for (const { target } of changes) {
        const element = target.nodeType === 1 ? target : target.parentElement;
        const own = element?.closest('.tile');
        if (own) window.touched.add(own.dataset.device);
      }
    }).observe(document.querySelector('.grid'), {
      subtree: true, childList: true, attributes: true, characterData: true,
    });
  });
  county.measure(beds[3], 'spo2', '91');
  // It is heard, then drawn; the tick of the next second is still to come.
  await page.caughtUp();
  await page.pass(300);
  assert.deepEqual(await page.run(() => [...window.touched]), ['heping-spo2-103']);
});

test('phone: the drawer fits 360 px, a strip scrolls in its own box', async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '80');
  const page = await it.open({ size: [360, 740], mobile: true });
  await page.run((css) => document.querySelector(css).click(), `${tile(10)} .open`);
  await page.shows('.drawer');
  const { wide, drawer } = await page.run(() => ({
    wide: document.documentElement.scrollWidth,
    drawer: document.querySelector('.drawer').scrollWidth,
  }));
  assert.ok(wide <= 360 && drawer <= 360, `${wide}, ${drawer}`);
});
