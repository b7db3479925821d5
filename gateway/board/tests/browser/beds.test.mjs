// Checks of the bed grid, the drawer, trends and strips (nurse board, chapter 10), by number and name.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import { isRinged } from './eyes.mjs';
import * as make from './fixtures.mjs';
import { rowOf, stand } from './stand.mjs';

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

/** A device as the stream tells of it. */
const without = ({ latest: _, ...facts }) => facts;

/** Opens the drawer of a bed. */
async function drawerOf(page, bed) {
  await page.click(`${tile(bed)} .open`);
  await page.shows('.drawer');
  // What it fetches moves what is to be clicked.
  await page.caughtUp();
}

/** In the page: keeps what is written on canvases from now on in `window.written`. */
function listen() {
  window.written = [];
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function written(text, ...place) {
    window.written.push(text);
    return fillText.call(this, text, ...place);
  };
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
  // The county's clock is known to a second.
  const age = Number(await page.attribute(own, 'data-age-s'));
  assert.ok(age === 4 || age === 5, `${age} s`);
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

test('14. stale number: each change is at its limit, wherever that lies between two ticks', async () => {
  const county = ward();
  const { monitor } = county;
  const page = await it.open();
  await page.pass(10_300);
  county.measure(monitor, 'hr', '137');
  const own = `${tile(10)} ${number(monitor, 'hr')}`;
  const row = rowOf(county.raise(monitor, 'high', { metric: 'hr', patient: ZHANG }));
  await page.pass(1_000);
  await page.says(own, '137');
  const stale = () => Promise.all([own, `${row} .number`].map((css) => page.attribute(css, 'data-stale')));
  await page.pass(4_000);
  assert.deepEqual(await stale(), ['fresh', 'fresh']);
  await page.pass(2);
  assert.deepEqual(await stale(), ['ageing', 'ageing']);
  await page.pass(9_998);
  assert.deepEqual(await stale(), ['ageing', 'ageing']);
  await page.pass(2);
  assert.deepEqual(await stale(), ['stale', 'stale']);
  assert.equal(await page.text(own), '--');
  await page.pass(44_998);
  assert.equal(await page.attribute(tile(10), 'data-hatched'), null);
  await page.pass(2);
  assert.equal(await page.attribute(tile(10), 'data-hatched'), 'true');
});

test('a pressure is amber by its age after half an hour, and grey after four hours', async () => {
  const county = ward();
  const pressed = (minutes) => {
    const moment = make.at(county.ms - minutes * 60_000);
    const when = { measured_time: moment, placed_time: moment, observed_time: moment, seq: 900 };
    county.measure(county.monitor, 'nibp_sys', '120', { ...when, group: `${minutes}`, index: 0 });
    county.measure(county.monitor, 'nibp_dia', '80', { ...when, group: `${minutes}`, index: 1 });
  };
  pressed(29);
  const page = await it.open();
  const cell = `${tile(10)} .cell[data-cell="nibp"]`;
  const colours = () => page.run((css) => {
    const style = getComputedStyle(document.querySelector(css));
    const of = (name) => {
      const probe = document.createElement('span');
      probe.style.color = style.getPropertyValue(name);
      document.body.append(probe);
      const { color } = getComputedStyle(probe);
      probe.remove();
      return color;
    };
    const is = (part, name) => getComputedStyle(document.querySelector(`${css} ${part}`)).color === of(name);
    return { amber: is('.age', '--ageing-text'), grey: is('.amount', '--quiet') };
  }, cell);
  await page.says(`${cell} .num`, '120');
  assert.deepEqual(await colours(), { amber: false, grey: false });
  await page.pass(70_000);
  assert.deepEqual(await colours(), { amber: true, grey: false });
  // It stays, with its time.
  await page.pass(210 * 60_000);
  assert.deepEqual(await colours(), { amber: false, grey: true });
  await page.says(`${cell} .num`, '120');
});

test('a number that repeats has a clock beside it after five seconds', async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '137');
  const page = await it.open();
  const age = `${tile(10)} .cell[data-cell="hr"] .age`;
  await page.pass(3_000);
  assert.equal(await page.text(age), '');
  await page.pass(4_000);
  await page.says(age, '◷');
  assert.match(await page.text(age), /^◷ [78] 秒前$/);
});

test('in a narrow tile an age breaks between its words', async () => {
  const county = ward();
  county.bind(county.oximeter, LI);
  county.measure(county.oximeter, 'spo2', '97');
  const page = await it.open({ size: [1366, 768] });
  const age = `${tile(9)} .cell .age`;
  await page.pass(36_000);
  await page.says(age, '无数据');
  const lines = await page.run((css) => {
    const { firstChild: text } = document.querySelector(css);
    const range = document.createRange();
    range.setStart(text, text.data.indexOf('无数据'));
    range.setEnd(text, text.data.length);
    return range.getClientRects().length;
  }, age);
  assert.equal(lines, 1);
});

test('the age of a number is right with each tick, also where its tile was drawn between two', async () => {
  const county = ward();
  const { monitor } = county;
  county.measure(monitor, 'hr', '137');
  const page = await it.open();
  const own = `${tile(10)} ${number(monitor, 'hr')}`;
  await page.says(own, '137');
  const age = async () => Number(await page.attribute(own, 'data-age-s'));
  await page.pass(3_000);
  // Drawn for something else 400 ms after the tick.
  await page.pass(200);
  await page.run((css) => document.querySelector(css).setAttribute('data-age-s', '0'), own);
  county.change(county.raise(monitor, 'medium', { metric: null, patient: ZHANG }).id, {});
  await page.pass(300);
  const drawn = await age();
  assert.ok(drawn >= 3, 'it was drawn between two ticks');
  await page.pass(1_000);
  assert.equal(await age(), drawn + 1);
});

/** In the page: how many points of a plot are drawn as rings. */
function rings(css) {
  const canvas = document.querySelector(`${css} canvas`);
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const style = getComputedStyle(document.querySelector(css));
  const [curve, panel] = ['--curve', '--panel'].map((name) => (
    style.getPropertyValue(name).trim().match(/\w\w/g).map((one) => parseInt(one, 16))));
  const is = (x, y, colour) => colour.every((part, place) => (
    Math.abs(data[(y * width + x) * 4 + place] - part) < 60) && data[(y * width + x) * 4 + 3] > 200);
  let found = 0;
  for (let y = 4; y < height - 4; y += 1) {
    for (let x = 4; x < width - 4; x += 1) {
      const around = [[-3, 0], [3, 0], [0, -3], [0, 3]];
      if (is(x, y, panel) && around.every(([dx, dy]) => is(x + dx, y + dy, curve)
        || is(x + dx * 2 / 3, y + dy * 2 / 3, curve))) found += 1;
    }
  }
  return found;
}

test('16. backfill: no sound, one retro entry with its own time, hollow points in the trend', async () => {
  const county = ward();
  const { monitor } = county;
  const page = await it.open();
  // Without the gate nothing would sound whatever came.
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  const sounds = () => page.run(() => window.__test.sounds.length);
  const trial = await sounds();
  assert.ok(trial > 0);
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
  assert.equal(await sounds(), trial);
  await page.shows(`[data-alert-id="${retro.id}"]`);
  const rows = await page.rows();
  assert.equal(rows.filter((id) => id === retro.id).length, 1);
  await page.says(`[data-alert-id="${retro.id}"]`, beijing(from));
  // A late number never stands where a live one stands.
  assert.equal(await page.text(`${tile(10)} ${number(monitor, 'hr')}`), '--');
  await drawerOf(page, 10);
  await page.shows('.plot[data-metric="hr"]');
  assert.equal(await page.attribute('.plot[data-metric="hr"]', 'data-hollow'), '15');
  // A circle of the curve's colour with the panel's in it.
  assert.ok(await page.run(rings, '.plot[data-metric="hr"]') >= 3);
  // What is not late does sound.
  county.raise(monitor, 'high', { patient: ZHANG });
  await page.pass(1_000);
  assert.ok(await sounds() > trial);
});

/** A square of 1 mV and 1 Hz at 250 Hz. */
const square = Array.from({ length: 250 }, (_, index) => (index < 125 ? 1000 : 0));

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

test('what is out of sight is right at once when it comes into sight', async () => {
  const county = ward();
  // A clinic that is higher than the window stands above.
  county.patients = Array.from({ length: 90 }, (_, index) => make.patient(
    `p-${String(index + 1).padStart(32, '0')}`, '王**', String(index + 1), '安乐镇卫生院'));
  const { oximeter } = county;
  const own = `.tile[data-device="${oximeter.device}"] [data-metric="spo2"]`;
  county.measure(oximeter, 'spo2', '96');
  const page = await it.open();
  await page.until('the tile is there', (css) => document.querySelector(css)?.textContent === '96', own);
  await page.until('it is out of sight', (css) => (
    document.querySelector(css).getBoundingClientRect().top > window.innerHeight), own);
  await page.pass(1_000);
  county.measure(oximeter, 'spo2', '91');
  await page.pass(500);
  await page.run((css) => document.querySelector(css).scrollIntoView(), own);
  // No time passes: it is not the next second that draws it.
  await page.says(own, '91');
});

test("another's number and alert never stand under a patient's name", async () => {
  const county = ward();
  const { monitor } = county;
  county.measure(monitor, 'spo2', '82');
  const walkIn = county.measure(monitor, 'temp', '39.9');
  const page = await it.open();
  await page.says(`${tile(10)} ${number(monitor, 'temp')}`, '39.9');
  // The temperature was a walk-in's.
  monitor.latest = monitor.latest.map((one) => (
    one === walkIn ? { ...one, patient: null } : one));
  county.say('patients', {});
  await page.pass(1_000);
  await page.hides(`${tile(10)} ${number(monitor, 'temp')}`);
  const nobodys = county.raise(monitor, 'high', { metric: 'spo2', value: '81' });
  const own = county.raise(monitor, 'medium', { patient: ZHANG, value: '81' });
  await page.pass(1_000);
  const now = (alert) => `[data-alert-id="${alert.id}"] .number`;
  await page.says(now(own), '82');
  assert.equal(await page.text(now(nobodys)), '--');
  assert.equal(await page.attribute(tile(10), 'data-priority'), 'medium');
  // The monitor goes to the other bed.
  county.bindings = [];
  county.bind(monitor, LI);
  await page.pass(1_000);
  await page.shows(`${tile(9)} .device-line`);
  assert.ok(!(await page.text(tile(9))).includes('82'));
  county.measure(monitor, 'spo2', '99');
  await page.pass(1_000);
  await page.says(`${tile(9)} ${number(monitor, 'spo2')}`, '99');
  assert.equal(await page.text(now(own)), '--');
  assert.equal(await page.attribute(tile(9), 'data-priority'), 'none');
});

test('a number outside a limit that is no alert yet has a thin line around it, and only that', async () => {
  const county = ward();
  const page = await it.open();
  const own = `${tile(10)} ${number(county.monitor, 'hr')}`;
  const pend = ({ site, device, channel, metric, measured_time: at }) => county.say('pending', {
    numbers: [{ site, device, channel, metric, measured_time: at }],
  });
  const line = () => page.run((css) => getComputedStyle(document.querySelector(css)).outline, own);
  pend(county.measure(county.monitor, 'hr', '39'));
  await page.pass(1_000);
  await page.shows(`${own}[data-pending]`);
  assert.match(await line(), /solid 1px/);
  await page.says(`${tile(10)} .cell[data-cell="hr"] .amount`, '超限,尚未预警');
  assert.equal(await page.attribute(tile(10), 'data-priority'), 'none');
  // The next value is inside.
  county.measure(county.monitor, 'hr', '72');
  await page.pass(1_000);
  await page.says(own, '72');
  assert.equal(await page.attribute(own, 'data-pending'), null);
  assert.match(await line(), /none/);
  // Of what is not heard any more nobody knows.
  pend(county.measure(county.monitor, 'hr', '39'));
  await page.pass(1_000);
  await page.shows(`${own}[data-pending]`);
  await page.pass(9_000);
  assert.equal(await page.attribute(own, 'data-pending'), null);
});

test('a drawer whose place is gone is empty and says so; an old answer does not come in', async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '137');
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says(`.drawer ${number(county.monitor, 'hr')}`, '137');
  // Another township is chosen: the place is still there.
  await page.run((css) => document.querySelector(css).click(), '[data-town="东风乡卫生院"] input');
  await page.hides(tile(10));
  await page.says(`.drawer ${number(county.monitor, 'hr')}`, '137');
  const { patients, bindings } = county;
  const release = county.hold('GET', `/patients/${ZHANG}`);
  county.patients = patients.slice(1);
  county.bindings = [];
  county.say('patients', {});
  await page.says('.drawer .problem', '此床位或患者已不在看板上,请从床位图另选');
  assert.ok(!(await page.text('.drawer')).includes('137'));
  assert.ok(!(await page.text('.drawer')).includes('张'));
  release();
  await page.pass(1_000);
  await page.says('.drawer .problem', '此床位或患者已不在看板上,请从床位图另选');
  Object.assign(county, { patients, bindings });
  county.say('patients', {});
  await page.says('.drawer-head', '张**');
  await page.says(`.drawer ${number(county.monitor, 'hr')}`, '137');
  assert.equal(await page.text('.drawer .problem'), '');
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
  // And in the top bar, whatever is open.
  await page.says('.pages-nav [data-page="devices"]', '无规则设备 1');
});

test('a fifth monitor takes no strip away, and its own is there when somebody wants it', async () => {
  const { county } = it;
  const device = (n) => make.device(make.HEPING, `heping-monitor-0${n}`, 'monitor', county.ms);
  county.devices.push(device(2), device(3), device(4));
  const page = await it.open();
  const strips = () => page.run(() => [...document.querySelectorAll('.tile .strip')]
    .map((strip) => strip.dataset.device).sort());
  await page.wait('four strips', async () => (await strips()).length === 4);
  await page.hides('.strip-wanted');
  county.devices.push(device(5));
  county.say('device', without(county.devices[county.devices.length - 1]));
  await page.pass(1_000);
  const fifth = '.device-line[data-device="heping-monitor-05"]';
  await page.says(`${fifth} .strip-wanted`, '显示心电');
  assert.equal((await strips()).length, 4);
  await page.click(`${fifth} .strip-wanted`);
  await page.shows(`${fifth} .strip`);
  assert.equal((await strips()).length, 5);
  // A board that begins anew shows what was asked for.
  await page.send('Page.reload', {});
  await page.wait('it is there again', async () => (await strips()).join() === 'heping-monitor-05');
});

test('a drug whose name no font can show is said in words', async () => {
  const { county } = it;
  const pump = make.device(make.HEPING, 'heping-pump-01', 'pump', county.ms);
  county.devices.push(pump);
  county.measure(pump, 'pump_drug', '去甲\u{E021}');
  const page = await it.open();
  await page.says('.tile[data-device="heping-pump-01"]', '去甲〔无法显示的字 U+E021〕');
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
  await page.click('.undo button');
  await page.hides('.result[data-moved]');
  assert.equal(county.results[0].readings[0].patient, ZHANG);
  // The chance to undo is over after ten seconds.
  await page.click('.not-this');
  await page.click('.choice [data-patient=""]');
  await page.shows('.undo');
  await page.pass(11_000);
  await page.hides('.undo');
});

test('an open drawer makes the page no longer than a desktop: the alerts stay where they are', async () => {
  ward();
  const page = await it.open({ size: [1366, 768] });
  await drawerOf(page, 10);
  const [height, inner] = await page.run(() => [
    document.scrollingElement.scrollHeight, window.innerHeight,
  ]);
  assert.equal(height, inner);
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

test('the early warning score is what the county counts; what is missing is said', async () => {
  const county = ward();
  county.news2 = {
    at: make.at(county.ms),
    complete: false,
    score: null,
    at_least: 3,
    scale: 1,
    parts: {
      respiration: 0, spo2: 3, oxygen: null, systolic: null, pulse: 0, consciousness: null, temperature: null,
    },
    text_zh: 'NEWS2 不完整 ≥ 3',
    text_en: 'NEWS2 incomplete ≥ 3',
  };
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says('.drawer .news2', 'NEWS2 不完整 ≥ 3');
  assert.equal(await page.text('.drawer .news2'), 'NEWS2 不完整 ≥ 3 · 09:30');
  // The county is asked each minute; what it does not answer is no number any more.
  const unread = county.answer({ method: 'GET', path: '/patients/', status: 500, body: problem(500, 'Not now')[1] });
  await page.pass(119_000);
  await page.says('.drawer .news2', 'NEWS2 不完整 ≥ 3');
  await page.pass(3_000);
  await page.until('it is no number', () => document.querySelector('.drawer .news2').innerText === 'NEWS2 --');
  county.script = county.script.filter((rule) => rule !== unread);
  county.news2 = { ...county.news2, at: make.at(county.ms + 60_000) };
  await page.pass(61_000);
  await page.says('.drawer .news2', 'NEWS2 不完整 ≥ 3');
  // Without a link nobody knows; of that the banner speaks.
  county.cut();
  await page.pass(25_000, { beats: false });
  await page.shows('.link-banner[data-link="lost"]');
  await page.until('it is no number', () => document.querySelector('.drawer .news2').innerText === 'NEWS2 --');
  await page.pass(60_000, { beats: false });
  assert.equal((await page.text('.drawer > .problem')).includes('实时'), false);
  assert.equal(await page.text('.drawer > .problem'), '');
});

test('the drawer opens from an alert', async () => {
  const county = ward();
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG });
  const page = await it.open();
  await page.click(`[data-alert-id="${alert.id}"] .where`);
  await page.says('.drawer-head', '张**');
  await page.shows(`.drawer [data-alert-id="${alert.id}"]`);
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
  // What was pressed is gone and comes back: the focus goes with it.
  const focused = (css) => page.until(`${css} has the focus`, (one) => document.activeElement.matches(one), css);
  await focused('.drawer-head .name');
  await page.pass(31_000);
  await page.says('.drawer-head', '张**');
  await focused('.drawer-head .reveal');
  assert.ok(!(await page.run(() => document.body.textContent)).includes('张测试'));
});

test('a result above its target is coloured and says so; two hours after a meal a person confirms', async () => {
  const county = ward();
  county.patients[0].ruled = { ...make.RULED, populations: ['adult', 'pregnant'] };
  const glucose = (value, meal) => make.reading(county.monitor, 'glucose', value, county.ms, {
    patient: ZHANG, context: { meal },
  });
  county.results = [
    { readings: [glucose('5.6', 'meal_fast')], moves: [],
      missed: [{ rule: 'GLU-PR-F', message_zh: '空腹高于孕期目标5.3', message_en: 'Fasting above target' }] },
    { readings: [glucose('6.8', 'meal_post')], moves: [] },
  ];
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says('.result[data-missed]', '未达标:空腹高于孕期目标5.3');
  // The newest is first; only what was measured after a meal is asked about.
  assert.equal(await page.run(() => (
    document.querySelectorAll('.result .two-hours:not([hidden])').length)), 1);
  const after = '.result:not([data-missed])';
  await page.click(`${after} .two-hours`);
  await page.says(after, '餐后 2 小时(li 09:30 确认)');
  const said = county.asked.filter(({ url }) => url.endsWith('/after-meal'));
  assert.deepEqual(said.map(({ body }) => body), [{ two_hours: true }]);
  await page.says(`${after} .two-hours`, '不是餐后 2 小时');
});

test('another limit is suggested with the spread of the values, and a person sets it', async () => {
  const county = ward();
  county.offers = [
    { patient: ZHANG, rules: ['HR-AD-H'], alerts: ['1', '2', '3'].map((id) => id.padStart(32, '0')), values: ['121', '122', '121'] },
    { patient: LI, rules: ['SPO2-AD-LL'], alerts: ['4', '5', '6'].map((id) => id.padStart(32, '0')), values: ['84', '84', '83'] },
  ];
  county.series = [{
    site: county.monitor.site,
    device: county.monitor.device,
    channel: '',
    metric: 'hr',
    unit: '/min',
    points: ['112', '118', '124'].map((median, index) => ({
      at: make.at(county.ms - (3 - index) * 60_000), min: median, median, max: median, count: 60,
      backfilled: false, doubted: false,
    })),
  }];
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says('.limit-offers', '调整该患者限值?4 小时内 3 次相同预警无人处理:中 · 心率 >\u00a0120\u00a0次/分');
  await page.says('.limit-offers', '最低 112,10% 112,中位 118,90% 124,最高 124');
  assert.equal(await page.run(() => document.querySelectorAll('.limit-offers li').length), 1);
  await page.click('.limit-offers button');
  await page.shows('#limit-value');
  const form = await page.run(() => [
    document.querySelector('#limit-rule').value, document.querySelector('#limit-value').value,
    document.activeElement.id,
  ]);
  assert.deepEqual(form, ['HR-AD-H', '', 'limit-value']);
});

test('the cuff on another limb is a tick that the county takes', async () => {
  const county = ward();
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says('.limb', '袖带与血氧探头在不同侧肢体');
  await page.click('.limb input');
  const { body } = await page.wait('it is sent', () => county.asked.find(({ method }) => method === 'PATCH'));
  assert.deepEqual(body, { version: 1, cuff_on_other_limb: true });
  await page.caughtUp();
  assert.equal(await page.run(() => document.querySelector('.limb input').checked), true);
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

test("a value has the nurse's word, and not the catalogue's", async () => {
  const county = ward();
  for (const [metric, value] of [['spo2', '96'], ['rr', '18'], ['temp', '36.8']]) {
    county.measure(county.monitor, metric, value);
  }
  county.measure(county.monitor, 'nibp_sys', '186', { group: 'n', index: 0 });
  county.measure(county.monitor, 'nibp_dia', '104', { group: 'n', index: 1 });
  county.raise(county.monitor, 'medium', { patient: ZHANG, metric: 'nibp_sys', value: '186' });
  const page = await it.open({ language: 'en' });
  for (const word of ['SpO2', 'Resp. rate', 'NIBP', 'Temperature', 'ECG II']) await page.says(tile(10), word);
  await page.says('.alert', 'Systolic pressure');
  for (const css of [tile(10), '.alert']) {
    assert.doesNotMatch(await page.text(css), /oximetry|compound|(method|site) not stated|NIBP systolic|ECG waveform/, css);
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

test('a trend is read out by keys, and shown closer with every reading', async () => {
  const county = ward();
  const { monitor } = county;
  const moments = [3, 2, 1].map((minute) => county.ms - minute * 60_000);
  county.series = [{
    site: monitor.site,
    device: monitor.device,
    channel: '',
    metric: 'spo2',
    unit: '%',
    points: moments.map((ms, index) => ({
      at: make.at(ms), min: '90', median: String(95 + index), max: '99', count: 60, backfilled: index === 1, doubted: false,
    })),
  }];
  const page = await it.open();
  await drawerOf(page, 10);
  await page.shows('.plot canvas');
  await page.says('.plot .readout', '97 (90–99) %');
  await page.run(() => document.querySelector('.plot canvas').focus());
  await page.run(() => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Home' })));
  await page.says('.plot .readout', '95 (90–99) %');
  await page.run(() => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' })));
  await page.says('.plot .readout', '补传数据');
  await page.run(() => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' })));
  await page.wait('it is asked for closer', () => county.asked.some(({ url }) => /trends.*step=1(&|$)/.test(url)));
});

test('heart rate and pulse in one plot are two lines, and each value says which it is', async () => {
  const county = ward();
  const minutes = Array.from({ length: 721 }, (_, minute) => county.ms - minute * 60_000).reverse();
  // The extremes of the second reach over the first one's line.
  county.series = [['hr', '40', '40'], ['pulse_oxim', '180', '30']].map(([metric, value, min]) => ({
    site: county.monitor.site,
    device: county.monitor.device,
    channel: '',
    metric,
    unit: '/min',
    points: minutes.map((ms) => ({
      at: make.at(ms), min, median: value, max: value, count: 60, backfilled: false, doubted: false,
    })),
  }));
  county.results = [['temp', '36.6'], ['glucose', '6.1']].map(([metric, value], index) => ({
    readings: [county.measure(county.monitor, metric, value, { group: `g/${index}`, seq: 900 + index })],
    moves: [],
  }));
  const page = await it.open();
  await drawerOf(page, 10);
  const plot = '.plot[data-metric="hr"]';
  await page.says(`${plot} .plot-name`, '心率 / 脉率(血氧) 次/分');
  await page.says(`${plot} .plot-band`, '实线:心率 · 虚线:脉率(血氧)');
  const press = (key) => page.run((css, name) => document.querySelector(`${css} canvas`)
    .dispatchEvent(new KeyboardEvent('keydown', { key: name })), plot, key);
  await press('Home');
  await page.says(`${plot} .readout`, '心率 · 40 次/分');
  await press('ArrowRight');
  await page.says(`${plot} .readout`, '脉率(血氧) · 180 (30–180) 次/分');
  // A plot of one says it in its name.
  assert.equal(await page.text('.plot[data-metric="glucose"] .plot-name'), '血糖 mmol/L');
  assert.match(await page.text('.plot[data-metric="glucose"] .readout'), /^6\.1 mmol/);
  // The one line has no hole, the other has: by its rows of ink.
  const holes = await page.run((css) => {
    const canvas = document.querySelector(`${css} canvas`);
    const context = canvas.getContext('2d');
    const curve = getComputedStyle(document.querySelector(css)).getPropertyValue('--curve').trim()
      .match(/\w\w/g).map((one) => parseInt(one, 16));
    const found = [];
    for (let y = 0; y < canvas.height; y += 1) {
      const { data } = context.getImageData(0, y, canvas.width, 1);
      const inked = [];
      for (let x = 0; x < canvas.width; x += 1) {
        if (curve.every((part, index) => Math.abs(data[x * 4 + index] - part) < 40)) inked.push(x);
      }
      const hole = inked.filter((x, index) => index && x - inked[index - 1] > 1).length;
      if (inked.length > 10) found.push(hole);
    }
    return found;
  }, plot);
  assert.ok(holes[0] >= 10 && holes[holes.length - 1] === 0, String(holes));
});

test('a result beyond the axis says its number at the edge, one at the edge does not', async () => {
  const county = ward();
  const result = (number, readings) => ({
    readings: readings.map(([metric, value, more], index) => county.measure(
      county.monitor, metric, value, { group: `g/${number}`, seq: 900 + number, index, ...more },
    )),
    moves: [],
  });
  const hours = (ago) => ({ measured_time: make.at(county.ms - ago * 3_600_000) });
  county.results = [
    result(1, [['glucose', '32.4', hours(0)]]),
    result(2, [['glucose', '30.0', hours(4)]]),
    result(3, [['glucose', '33.3', { ...hours(8), comparator: '>' }]]),
    result(4, [['nibp_sys', '236', hours(0)], ['nibp_dia', '110', hours(0)]]),
    result(5, [['temp', '33.1', hours(6)]]),
  ];
  const page = await it.open();
  await page.run(listen);
  await drawerOf(page, 10);
  await page.shows('.plot[data-metric="temp"] canvas');
  const beside = () => page.run(() => [...new Set(window.written.filter((text) => (
    /^[↑↓]|^Hi$/.test(text))))].sort());
  await page.wait('it is drawn', async () => (await beside()).length >= 4);
  assert.deepEqual(await beside(), ['Hi', '↑236', '↑32.4', '↓33.1']);
});

test('yesterday has its date, also where the trend is shown closer', async () => {
  const county = ward();
  const measured_time = make.at(county.ms - 12 * 3_600_000);
  county.results = [
    { readings: [county.measure(county.monitor, 'temp', '36.6', { measured_time })], moves: [] },
  ];
  const page = await it.open();
  await drawerOf(page, 10);
  const plot = '.plot[data-metric="temp"]';
  const key = (name) => page.run((css, one) => document.querySelector(`${css} canvas`)
    .dispatchEvent(new KeyboardEvent('keydown', { key: one })), plot, name);
  await page.says(`${plot} .readout`, '· 2026-11-25 21:30 ·');
  await key('Home');
  await key('Enter');
  await page.says('.trends h3', '趋势放大 2026-11-25 21:15–21:45');
  await page.says(`${plot} .readout`, '· 2026-11-25 21:30 ·');
});

test('of a pressure of which one number is known the trend shows that one', async () => {
  const county = ward();
  const result = (number, fields) => {
    const group = { group: `nibp/${number}`, seq: 900 + number };
    const readings = [['nibp_sys', '174', fields.sys], ['nibp_dia', '96', fields.dia]]
      .map(([metric, value, more], index) => (
        county.measure(county.monitor, metric, value, { ...group, index, ...more })));
    return { readings, moves: [] };
  };
  const lost = { value: null, canonical_value: null, no_data: 'motion' };
  const plot = '.plot[data-metric="nibp"]';
  county.results = [result(1, { dia: lost })];
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says(`${plot} .readout`, '174/-- mmHg');
  assert.equal(await page.attribute(plot, 'data-points'), '1');
  const ink = () => page.run((css) => {
    const { width, height } = document.querySelector(`${css} canvas`);
    const { data } = document.querySelector(`${css} canvas`).getContext('2d').getImageData(0, 0, width, height);
    const curve = getComputedStyle(document.querySelector(css)).getPropertyValue('--curve').trim()
      .match(/\w\w/g).map((one) => parseInt(one, 16));
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (curve.every((part, index) => Math.abs(data[at + index] - part) < 8)) found += 1;
    }
    return found;
  }, plot);
  assert.ok(await ink() >= 12, 'its end is drawn');
  // What the device itself calls no result is none.
  county.results = [result(2, { sys: { validity: 'invalid' } })];
  county.say('patients', {});
  await page.says(`${plot} .readout`, '--/96 mmHg');
});

test('how a trend is read out is said for fingers where there is no pointer', async () => {
  const county = ward();
  county.results = [{ readings: [county.measure(county.monitor, 'temp', '36.6')], moves: [] }];
  const page = await it.open({ size: [360, 740], mobile: true });
  await page.send('Emulation.setTouchEmulationEnabled', { enabled: true });
  await page.run((css) => document.querySelector(css).click(), `${tile(10)} .open`);
  await page.says('.trends .quiet', '点一下');
  assert.doesNotMatch(await page.text('.trends .part-head'), /Enter|双击|←/);
});

test('a limit is set with a reason and an end', async () => {
  const county = ward();
  const limit = {
    id: 1, rule: 'HR-AD-H', off: false, applies: true, value: '130', until: make.at(county.ms + 28_800_000),
    reason: 'sport', made_by: 'li', made_at: make.at(county.ms),
  };
  county.answer({
    method: 'POST', path: '/limits', once: true, status: 200, body: { limits: [limit] },
  });
  const page = await it.open();
  await drawerOf(page, 10);
  await page.shows('.drawer-limits summary');
  await page.run(() => document.querySelector('.drawer-limits summary').click());
  await page.run(() => {
    document.querySelector('#limit-rule').value = 'HR-AD-H';
  });
  await page.run(() => document.querySelector('#limit-value').focus());
  await page.type('130');
  await page.run(() => document.querySelector('#limit-reason').focus());
  await page.type('sport');
  county.limits = [limit];
  await page.click('.limit-form button');
  await page.says('.own-limits', 'sport');
  const [asked] = county.asked.filter(({ method, url }) => method === 'POST' && url.endsWith('/limits'));
  assert.deepEqual([asked.body.rule, asked.body.value, asked.body.reason], ['HR-AD-H', '130', 'sport']);
});

test('a limit that needs another value too says which, in the list, to choose from, and as a patient\'s own', async () => {
  const county = ward();
  county.limits = [{
    id: 1, rule: 'GLU-AD-DKA', off: false, applies: true, value: '13.9', until: make.at(county.ms + 28_800_000),
    reason: 'insulin', made_by: 'li', made_at: make.at(county.ms),
  }];
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says('.own-limits', '高 · 血糖 ≥\u00a013.9\u00a0mmol/L · 且 血酮 ≥\u00a03\u00a0mmol/L(1 小时内)');
  await page.click('.drawer-limits summary');
  for (const css of ['.limits', '#limit-rule']) {
    await page.says(`.drawer-limits ${css}`, '高 · 血糖 ≥\u00a011.1\u00a0mmol/L · 且 血酮 ≥\u00a03\u00a0mmol/L(1 小时内)');
  }
});

test('of a limit that nobody looks at any more the drawer says so', async () => {
  const county = ward();
  const limit = (id, rule, applies) => ({
    id, rule, off: false, applies, value: '130', until: make.at(county.ms + 28_800_000), reason: 'sport',
    made_by: 'li', made_at: make.at(county.ms),
  });
  county.limits = [limit(2, 'HR-PED-H', false), limit(1, 'HR-AD-H', true)];
  const page = await it.open();
  await drawerOf(page, 10);
  await page.says('.own-limits', '目前不适用,未生效:HR-PED-H 130');
  const lines = (await page.text('.own-limits')).split('\n').filter((line) => line.includes('目前不适用'));
  assert.equal(lines.length, 1);
});

test('by keys alone a strip that stands still is measured, and the keys go on where they were', async () => {
  const county = ward();
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG });
  for (let second = -10; second < 10; second += 1) county.blocks.push(make.block(county.monitor, square, county.ms + second * 1000));
  const page = await it.open();
  await page.key('?');
  await page.says('.help', '冻结的心电:Enter');
  await page.key('Escape');
  await drawerOf(page, 10);
  const button = `.drawer [data-alert-id="${alert.id}"] > button`;
  await page.shows(button);
  await page.run((css) => document.querySelector(css).focus(), button);
  await page.key('Enter');
  await page.says('.strip-review .strip-note', '键盘:Enter');
  const keys = async (...all) => {
    for (const [key, times = 1, shift = false] of all) {
      for (let time = 0; time < times; time += 1) await page.key(key, { shift });
    }
  };
  const sees = () => page.run(() => document.querySelector('.review-paper').scrollLeft);
  assert.ok(await page.run(isRinged));
  // Two on one place, and the second goes 20 px to the right and 4 px up.
  await keys(['Enter', 2], ['ArrowRight', 2, true], ['ArrowUp', 4]);
  await page.says('.calipers', '200 ms · 300 次/分 · 0.10 mV');
  // A third takes the first away; it stays in sight wherever it goes.
  await keys(['Enter'], ['ArrowLeft', 1]);
  assert.equal(await page.text('.calipers'), '10 ms · 6000 次/分 · 0.00 mV');
  const before = await sees();
  await keys(['ArrowRight', 150, true]);
  assert.ok(await sees() > before, 'it went out of sight');
  await page.says('.calipers', '14990 ms');
  await page.key('Escape');
  await page.hides('.strip-review');
  assert.ok(await page.run((css) => document.activeElement === document.querySelector(css), button));
  // Without `Enter` an arrow begins too.
  await page.key('Enter');
  await page.says('.strip-review .strip-scale', '25 mm/s');
  await keys(['ArrowDown'], ['Enter'], ['ArrowDown', 4]);
  await page.says('.calipers', '0 ms · 0.10 mV');
});

test('a strip around an alert stands still, is measured, and is printed in true millimetres', async () => {
  const county = ward();
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG });
  for (let second = -10; second < 10; second += 1) {
    if (second !== 3) county.blocks.push(make.block(county.monitor, square, county.ms + second * 1000));
  }
  const page = await it.open();
  await drawerOf(page, 10);
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  await page.says('.strip-review .strip-scale', '25 mm/s 10 mm/mV');
  await page.says('.strip-review .strip-facts', '10床 张**');
  const clicked = (x, y) => page.run((dx, dy) => {
    const canvas = document.querySelector('.strip-review canvas');
    const { left, top } = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent('pointerdown', { clientX: left + dx, clientY: top + dy }));
  }, x, y);
  await clicked(60, 40);
  await clicked(140, 80);
  await page.says('.calipers', '800 ms · 75 次/分 · 1.00 mV');
  const choose = (name, value) => page.run((css, one) => {
    const select = document.querySelector(css);
    select.value = one;
    select.dispatchEvent(new Event('change'));
  }, `.strip-review ${name}`, value);
  // What is in the middle, in seconds from the begin: beside the pulse of a big box twice.
  const middle = (speed) => page.run((px) => {
    const { scrollLeft, clientWidth } = document.querySelector('.review-paper');
    return (scrollLeft + clientWidth / 2 - 40) / px;
  }, 4 * speed);
  const before = await middle(25);
  assert.ok(Math.abs(before - 30) < 0.1, `${before} s`);
  // On other paper they stay where they are on the wave.
  await choose('.speed', '50');
  assert.ok(Math.abs(await middle(50) - before) < 0.1, `${await middle(50)} s`);
  await choose('.gain', '5');
  await page.says('.strip-review .strip-scale', '50 mm/s 5 mm/mV');
  assert.equal(await page.text('.calipers'), '800 ms · 75 次/分 · 1.00 mV');
  await choose('.speed', '25');
  await choose('.gain', '10');
  // Of another lead they say nothing.
  const lead = (value) => choose('.part-head > select', value);
  await lead('ecg_wave_i');
  await page.says('.strip-review', '该导联无波形');
  assert.equal(await page.text('.calipers'), '');
  await lead('ecg_wave_ii');
  await page.says('.strip-review .strip-scale', '25 mm/s 10 mm/mV');
  const paper = await page.paper();
  await page.run(() => {
    [...document.querySelectorAll('.strip-review button')].find((one) => (
      one.textContent.includes('A4'))).click();
  });
  await paper('it is printed', (sheet) => sheet.body.dataset.printed === 'true');
  assert.ok(await paper('its words', (sheet) => sheet.body.innerText.includes('10床 张**')));
  // What it is of, when, and where in it: on paper nobody can ask.
  const heads = await paper('its heads', (sheet) => [...sheet.querySelectorAll('h2, p')].map((one) => one.innerText));
  assert.deepEqual(heads.slice(0, 2), ['预警前后 30 秒', '▼ 预警(高):血氧过低,2026-11-26 09:30:00']);
  assert.deepEqual(heads.filter((one) => /^\d\d:/.test(one)), ['09:29:30–09:29:40', '09:29:40–09:29:50',
    '09:29:50–09:30:00', '09:30:00–09:30:10', '09:30:10–09:30:20', '09:30:20–09:30:30']);
  const marked = await paper('its mark', (sheet) => [...sheet.querySelectorAll('canvas')].map((canvas) => {
    // Right of the pulse of ten millimetres, all the way down.
    const { data } = canvas.getContext('2d').getImageData(80, 0, 1, canvas.height);
    return data.every((one, index) => index % 4 !== 0 || one < 40);
  }));
  assert.deepEqual(marked, [false, false, false, true, false, false]);
  const rows = await paper('its rows', (sheet) => [...sheet.querySelectorAll('canvas')].map(
    (canvas) => [canvas.style.width, canvas.style.height]));
  const dark = await paper('its ink', (sheet) => {
    const { width, height } = sheet.querySelector('canvas');
    const { data } = sheet.querySelector('canvas').getContext('2d').getImageData(0, 0, width, height);
    return data.filter((one, index) => index % 4 === 0 && one < 40).length;
  });
  assert.ok(dark > 500, `${dark} dark dots`);
  // Ten seconds of 25 mm, and the calibration pulse beside them.
  assert.equal(rows.length, 6);
  assert.deepEqual(rows[0], ['260mm', '30mm']);
  await page.key('Escape');
  await page.hides('.strip-review');
  await page.shows('.drawer');
});

test('a strip around an alert of a strap that is silent since is that of the lead it had', async () => {
  const county = ward();
  const strap = make.device(make.HEPING, 'heping-strap-01', 'ecg_strap', county.ms);
  county.devices.push(strap);
  county.bind(strap, ZHANG);
  const alert = county.raise(strap, 'high', { patient: ZHANG, metric: 'hr' });
  for (let second = -5; second < 5; second += 1) {
    county.blocks.push(make.block(strap, square, county.ms + second * 1000, { metric: 'ecg_wave_i' }));
  }
  const page = await it.open();
  await drawerOf(page, 10);
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  await page.says('.strip-review .strip-facts', '心电 I');
  assert.equal(await page.attribute('.strip-review', 'data-metric'), 'ecg_wave_i');
  assert.ok(!(await page.text('.strip-review')).includes('无波形'));
  // Of one that never sent any it is said that nobody knows the lead.
  county.blocks = [];
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  await page.says('.strip-review', '该导联无波形');
  await page.says('.strip-review .strip-facts', '导联不详');
  // An empty sheet with a name on it is no strip.
  const print = () => page.run(() => {
    const button = [...document.querySelectorAll('.strip-review button')].find((one) => one.textContent.includes('A4'));
    return [button.disabled, button.title];
  });
  assert.deepEqual(await print(), [true, '没有可打印的波形:该导联无波形']);
});

test("on screen and on paper another patient's beats are called so, and not no signal", async () => {
  const county = ward();
  for (let second = -20; second < 20; second += 1) {
    county.blocks.push(make.block(county.monitor, square, county.ms + second * 1000));
  }
  county.bindings = [];
  county.bind(county.monitor, LI, '9');
  county.ms -= 5_000;
  county.move(county.monitor, ZHANG, '10');
  county.ms += 5_000;
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG });
  const page = await it.open();
  await page.run(listen);
  const gaps = () => page.run(() => [...new Set(window.written.splice(0).filter((text) => / 秒$/.test(text)))]);
  await drawerOf(page, 10);
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  const note = '设备当时在其他患者身上的波形不显示';
  await page.says('.strip-review .strip-note', note);
  assert.ok((await gaps()).includes('非此患者 15.0 秒'));
  const paper = await page.paper();
  await page.run(() => [...document.querySelectorAll('.strip-review button')]
    .find((one) => one.textContent.includes('A4')).click());
  await paper('it is printed', (sheet) => sheet.body.dataset.printed === 'true');
  assert.ok(await paper('its note', (sheet) => sheet.body.innerText.includes('设备当时在其他患者身上的波形不显示')));
  assert.ok((await gaps()).includes('非此患者 15.0 秒'));
});

test('a gap over two rows of paper says once how long it is, and that it goes on', async () => {
  const county = ward();
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG });
  // Four seconds in one row and three in the next; then five and ten.
  for (let second = -30; second < 15; second += 1) {
    if (second < 6 || second >= 13) county.blocks.push(make.block(county.monitor, square, county.ms + second * 1000));
  }
  const page = await it.open();
  await drawerOf(page, 10);
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  await page.says('.strip-review .strip-scale', '25 mm/s 10 mm/mV');
  const paper = await page.paper();
  await page.run(listen);
  await page.run(() => {
    [...document.querySelectorAll('.strip-review button')].find((one) => one.textContent.includes('A4')).click();
  });
  await paper('it is printed', (sheet) => sheet.body.dataset.printed === 'true');
  const gaps = await page.run(() => window.written.filter((text) => /秒|间断/.test(text)));
  assert.deepEqual(gaps, ['无信号 7.0 秒', '同一间断', '同一间断', '无信号 15.0 秒']);
});

test('an alert of a device without an ECG has the strip of the monitor on the same patient', async () => {
  const county = ward();
  const oximeter = make.device(make.HEPING, 'heping-spo2-01', 'oximeter', county.ms);
  const alone = make.device(make.HEPING, 'heping-spo2-02', 'oximeter', county.ms);
  county.devices.push(oximeter, alone);
  county.bind(oximeter, ZHANG);
  const alert = county.raise(oximeter, 'high', { patient: ZHANG, metric: 'spo2' });
  const nobodys = county.raise(alone, 'high', { metric: 'spo2' });
  for (let second = -5; second < 5; second += 1) {
    county.blocks.push(make.block(county.monitor, square, county.ms + second * 1000));
  }
  const page = await it.open();
  await drawerOf(page, 10);
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  await page.says('.strip-review .strip-scale', '25 mm/s 10 mm/mV');
  await page.says('.strip-review .strip-facts', '10床 张**');
  assert.equal(await page.attribute('.strip-review', 'data-device'), county.monitor.device);
  await page.key('Escape');
  await page.hides('.strip-review');
  await page.key('Escape');
  await page.hides('.drawer');
  // Of a device on nobody there is no strip: no monitor beside it is of the same.
  await page.click(`.tile[data-key$="${alone.device}"] .open`);
  await page.shows(`.drawer [data-alert-id="${nobodys.id}"]`);
  await page.hides(`.drawer [data-alert-id="${nobodys.id}"] > button`);
});

test("a strip around an alert keeps whose it was when the monitor goes to another", async () => {
  const county = ward();
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG });
  for (let second = -5; second < 5; second += 1) {
    county.blocks.push(make.block(county.monitor, square, county.ms + second * 1000));
  }
  county.bindings = [];
  county.bind(county.monitor, LI, '9');
  const page = await it.open();
  await drawerOf(page, 10);
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  await page.says('.strip-review .strip-facts', '10床 张**');
  assert.ok(!(await page.text('.strip-review')).includes('李'));
  // Nor does one stand in a bed after that was given to another.
  county.patients = [county.patients[1]];
  const gone = county.raise(county.monitor, 'high', { patient: ZHANG });
  county.say('patients', {});
  await page.says('.drawer .problem', '此床位或患者已不在看板上,请从床位图另选');
  await page.says(`.alerts [data-alert-id="${gone.id}"]`, '患者资料未读到');
});

test('a strip that is shown no more is watched no more', async () => {
  const county = ward();
  const page = await it.open();
  await page.run(() => {
    window.watched = 0;
    const { observe, disconnect } = IntersectionObserver.prototype;
    IntersectionObserver.prototype.observe = function count(...args) {
      window.watched += 1;
      return observe.apply(this, args);
    };
    IntersectionObserver.prototype.disconnect = function count() {
      window.watched -= 1;
      return disconnect.apply(this);
    };
  });
  for (const _ of [0, 1, 2]) {
    await drawerOf(page, 10);
    await page.shows('.drawer .strip');
    assert.equal(await page.run(() => window.watched), 1);
    await page.key('Escape');
    await page.hides('.drawer');
    assert.equal(await page.run(() => window.watched), 0);
  }
});

test('a state without advice, a cut address, and an empty half hour say nothing untrue', async () => {
  const county = ward();
  county.monitor.state = 'waiting';
  const page = await it.open();
  await page.shows(`${tile(10)} .why`);
  assert.ok(!(await page.text(`${tile(10)} .why`)).includes('tiles.'));
  await page.run(() => {
    window.location.hash = '#bed=%';
  });
  await page.pass(3_000);
  await page.hides('.fault-banner');
  await page.hides('.drawer');
  const retro = county.raise(county.monitor, 'low', { retro: true, patient: ZHANG });
  await drawerOf(page, 10);
  await page.says(`.drawer [data-alert-id="${retro.id}"]`, '补传数据,发生于 09:30');
});

test('the alerts of a drawer are those the stream knows: new, long open, and closed', async () => {
  const county = ward();
  const early = county.raise(county.monitor, 'high', { patient: ZHANG });
  const long = county.raise(county.monitor, 'medium', {
    patient: ZHANG, started_ms: county.ms - 40 * 3_600_000,
  });
  const row = ({ id }) => `.drawer [data-alert-id="${id}"]`;
  const page = await it.open();
  county.answer({
    method: 'GET',
    path: '/alerts?site=',
    status: 200,
    body: {
      alerts: [early], flood: null, offers: [], truncated: false,
    },
  });
  await drawerOf(page, 10);
  await page.shows(row(early));
  await page.shows(row(long));
  const late = county.raise(county.monitor, 'low', { patient: ZHANG });
  county.raise(county.monitor, 'low', { patient: LI });
  county.change(early.id, { state: 'closed', condition: 'closed', cleared_at: make.at(county.ms) });
  await page.pass(1_000);
  await page.shows(row(late));
  await page.shows(`${row(early)}[data-state="closed"]`);
  assert.equal(await page.run(() => document.querySelectorAll('.drawer-alert').length), 3);
});

test('phone: what one goes to in the drawer lies above the thumb and not under it', async () => {
  const county = ward();
  county.raise(county.monitor, 'high', { patient: ZHANG });
  const page = await it.open({ size: [360, 740], mobile: true });
  await drawerOf(page, 10);
  await page.shows('.thumb');
  // From the top each comes up from below.
  const covered = await page.run(() => [...document.querySelectorAll('.drawer button')].filter((button) => {
    if (!button.getClientRects().length) return false;
    document.querySelector('.drawer').scrollTop = 0;
    button.scrollIntoView({ block: 'nearest' });
    const { left, top, width, height } = button.getBoundingClientRect();
    return Boolean(document.elementFromPoint(left + width / 2, top + height / 2)?.closest('.thumb'));
  }).map(({ textContent }) => textContent));
  assert.deepEqual(covered, []);
});

test('phone: the drawer fits 360 px, a strip scrolls in its own box', async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '80');
  const result = make.reading(county.monitor, 'glucose', '5.4', county.ms - 60_000, { patient: ZHANG });
  county.results = [{ readings: [result], moves: [] }];
  const page = await it.open({ size: [360, 740], mobile: true });
  await page.run((css) => document.querySelector(css).click(), `${tile(10)} .open`);
  await page.shows('.drawer');
  // The clock of the top makes room for the drawer; when something was measured does not.
  await page.hides('.topbar > .time');
  await page.says('.result .time', beijing(county.ms - 60_000));
  const { wide, drawer } = await page.run(() => ({
    wide: document.documentElement.scrollWidth,
    drawer: document.querySelector('.drawer').scrollWidth,
  }));
  assert.ok(wide <= 360 && drawer <= 360, `${wide}, ${drawer}`);
  const { x, width } = await page.box('.drawer');
  assert.deepEqual([x, width], [0, 360], 'it goes from edge to edge');
  assert.equal(await page.text('.drawer .close'), '返回', 'a phone has no keys');
});

test('blood pressure with kPa in brackets, where somebody wants it; the axis stays in mmHg', async () => {
  const county = ward();
  const group = { group: 'nibp/1', lane: 'urgent' };
  const readings = [['nibp_sys', '180'], ['nibp_dia', '110']].map(([metric, value]) => (
    county.measure(county.monitor, metric, value, { ...group, seq: 900, placed_time: make.at(county.ms) })));
  county.results = [{ readings, moves: [] }];
  const alert = county.raise(county.monitor, 'high', {
    patient: ZHANG, metric: 'nibp_sys', value: '180', unit: 'mm[Hg]', limit: '≥ 180',
  });
  const page = await it.open();
  const cell = '.drawer .cell[data-cell="nibp"]';
  await page.says(`${tile(10)} .cell[data-cell="nibp"]`, 'mmHg');
  await drawerOf(page, 10);
  await page.says(cell, 'mmHg');
  assert.ok(!(await page.text(cell)).includes('kPa'));
  await page.click('.kpa-option');
  await page.pass(1_000);
  await page.says(cell, '(24.0/14.7 kPa)');
  await page.says('.drawer .result', '180/110 mmHg (24.0/14.7 kPa)');
  await page.says('.plot[data-metric="nibp"] .readout', '(24.0/14.7 kPa)');
  await page.says(`.alerts [data-alert-id="${alert.id}"]`, '(24.0 kPa)');
  assert.ok(!(await page.text('.plot[data-metric="nibp"] figcaption')).includes('kPa'));
  // One of two alone would not say which it is.
  const next = { ...group, group: 'nibp/2', seq: 901 };
  county.measure(county.monitor, 'nibp_sys', '174', next);
  county.measure(county.monitor, 'nibp_dia', null, { ...next, index: 1, no_data: 'motion' });
  await page.pass(1_000);
  await page.says(cell, '(23.2/-- kPa)');
  // Nor does a number without its other half: `/70` could be either.
  county.measure(county.monitor, 'nibp_dia', '70', { ...group, group: 'nibp/3', seq: 902 });
  await page.pass(1_000);
  const numbers = () => page.run((one) => [...document.querySelectorAll(`${one} .num`)].map((number) => [
    getComputedStyle(number, '::before').content + number.textContent, number.getAttribute('aria-label'),
  ]), cell);
  assert.deepEqual(await numbers(), [['none--', '收缩压 无有效值'], ['"/"70', null]]);
  county.measure(county.monitor, 'nibp_sys', '150', { ...group, group: 'nibp/4', seq: 903 });
  await page.pass(1_000);
  assert.deepEqual(await numbers(), [['none150', null], ['"/"--', '舒张压 无有效值']]);
});
