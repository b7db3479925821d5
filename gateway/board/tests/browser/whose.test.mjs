// Whose a number, a wave or an alert is: a monitor that goes from one patient to another.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as make from './fixtures.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const [ZHANG, LI] = [1, 2].map((number) => `p-${String(number).padStart(32, '0')}`);
const CLINIC = make.HEPING.clinic;
const square = Array.from({ length: 250 }, (_, index) => (index < 125 ? 1000 : 0));
const beijing = (ms) => new Date(ms + 8 * 3_600_000).toISOString().slice(11, 16);
const tile = (bed) => `.tile[data-bed="${bed}"]`;
const nobodys = '.tile[data-place="device"][data-device="heping-monitor-01"]';

/** Two patients in beds 9 and 10; the monitor is on the one in bed 10. */
function ward() {
  const { county } = it;
  county.patients = [
    make.patient(ZHANG, '张**', '10', CLINIC), make.patient(LI, '李**', '9', CLINIC),
  ];
  county.bind(county.monitor, ZHANG);
  return county;
}

/** Seconds of a wave, each told `lateMs` after its end. */
async function beats(page, seconds, lateMs = 0) {
  const { county } = it;
  for (let second = 0; second < seconds; second += 1) {
    county.wave(county.monitor, [make.block(county.monitor, square, county.ms - 1000 - lateMs)]);
    await page.pass(1000);
  }
}

const isLive = (place) => `${place} .strip[data-live="live"]`;

test('a monitor goes to another: no beat of the first stands under the second', async () => {
  const county = ward();
  const page = await it.open();
  await page.shows(`${tile(10)} .strip`);
  await beats(page, 4, 3_000);
  await page.says(`${isLive(tile(10))} .strip-facts`, '张**');
  county.move(county.monitor, LI);
  await page.shows(`${tile(9)} .strip`);
  // Three seconds of the first are still under way.
  await beats(page, 3, 3_000);
  await page.hides(isLive(tile(9)));
  await beats(page, 4, 3_000);
  await page.says(`${isLive(tile(9))} .strip-facts`, '李**');
  // And in the drawer, which goes on with what the tile has.
  await page.click(`${tile(9)} .open`);
  await page.says(`${isLive('.drawer')} .strip-facts`, '李**');
});

test('a monitor is taken off: neither beats nor numbers stay without their name', async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '137');
  const page = await it.open();
  await page.shows(`${tile(10)} .strip`);
  await beats(page, 3);
  county.raise(county.monitor, 'high', { patient: ZHANG });
  // Who leaves the clinic has no bed any more, but an alert that is open.
  county.patients = [{ ...county.patients[0], bed: null }, county.patients[1]];
  county.move(county.monitor);
  await page.says(nobodys, '属于其他患者');
  assert.ok(!(await page.text(nobodys)).includes('137'));
  assert.equal(await page.attribute(nobodys, 'data-priority'), 'none');
  await beats(page, 2, 3_000);
  await page.hides(isLive(nobodys));
  county.measure(county.monitor, 'hr', '64');
  await beats(page, 5);
  await page.says(nobodys, '64');
  await page.says(`${isLive(nobodys)} .strip-facts`, '未关联患者');
});

test('blocks wait while it is not known on whom the monitor is', async () => {
  const county = ward();
  const page = await it.open();
  await page.shows(`${tile(10)} .strip`);
  const release = county.hold('GET', '/bindings');
  county.move(county.monitor, LI);
  county.ms += 500;
  const start = county.ms - 400;
  for (let second = 0; second < 3; second += 1) {
    county.wave(county.monitor, [make.block(county.monitor, square, start + second * 1000 - 2000)]);
  }
  await page.until('blocks are heard', () => window.__test.heard >= 4);
  // The page's second goes by; it would not be caught up before the list is there.
  await page.run(() => window.__test.pass(1_000));
  await page.shows(`${tile(10)} .strip`);
  assert.equal(await page.attribute(`${tile(10)} .strip`, 'data-live'), 'none');
  release();
  await page.shows(`${tile(9)} .strip`);
  county.wave(county.monitor, [make.block(county.monitor, square, county.ms)]);
  await page.pass(3_000);
  await page.hides(isLive(tile(10)));
  await page.says(`${isLive(tile(9))} .strip-facts`, '李**');
});

test('a place without patient: the trends of all its devices, and nobody else s', async () => {
  const county = ward();
  const meter = make.device(make.HEPING, 'heping-spo2-02', 'oximeter', county.ms);
  county.devices.push(meter);
  const point = (minutes, median) => ({
    at: make.at(county.ms - minutes * 60_000), min: median, median, max: median, count: 60,
    backfilled: false, doubted: false,
  });
  const series = (of, metric, points) => ({
    site: of.site, device: of.device, channel: '', metric, unit: make.catalogue
      .find((one) => one.metric === metric).canonical_unit, points,
  });
  county.bindings = [];
  county.bind(county.monitor, ZHANG);
  county.ms -= 10 * 60_000;
  county.move(county.monitor, null, '4');
  county.ms += 10 * 60_000;
  county.bind(meter, null, '4');
  county.series = [
    series(county.monitor, 'hr', [point(20, '137'), point(5, '64')]),
    series(meter, 'spo2', [point(5, '97')]),
  ];
  const page = await it.open();
  await page.click(`${tile(4)} .open`);
  await page.shows('.plot[data-metric="spo2"]');
  await page.says('.plot[data-metric="hr"] .readout', '64');
  assert.equal(await page.attribute('.plot[data-metric="hr"]', 'data-points'), '1');
});

test('a result that was nobody s and was given to a patient leaves the trend of its device', async () => {
  const county = ward();
  const cuff = make.device(make.HEPING, 'heping-bp-01', 'cuff', county.ms);
  county.devices.push(cuff);
  const pressure = (seq, ...values) => values.map((value, index) => county.measure(
    cuff, ['nibp_sys', 'nibp_dia'][index], value, { seq, index, group: `g${seq}`, lane: 'urgent' },
  ));
  const given = pressure(901, '186', '112');
  county.ms += 60_000;
  county.results = [{ readings: given, moves: [] }, { readings: pressure(902, '124', '78'), moves: [] }];
  const place = '.tile[data-place="device"][data-device="heping-bp-01"]';
  const page = await it.open();
  await page.click(`${place} .open`);
  const plot = '.plot[data-metric="nibp"]';
  await page.shows(`${plot}[data-points="2"]`);
  for (const reading of given) reading.patient = ZHANG;
  county.results[0].moves = [{
    from: null, to: ZHANG, by: 'li', at: make.at(county.ms), reason: 'claimed',
  }];
  county.say('patients', {});
  await page.shows(`${plot}[data-points="1"]`);
  await page.says(`${plot} .readout`, '124/78');
  // Among its results it stays, as no longer its own and with who gave it to whom.
  await page.says('.drawer .result[data-moved="true"]', '186/112');
});

test('a strip around an alert leaves out the beats of who had the monitor next', async () => {
  const county = ward();
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG });
  for (let second = 0; second < 20; second += 1) {
    county.blocks.push(make.block(county.monitor, square, county.ms + second * 1000));
  }
  county.ms += 10_000;
  county.move(county.monitor, LI);
  county.ms += 15_000;
  const page = await it.open();
  await page.click(`${tile(10)} .open`);
  await page.click(`.drawer [data-alert-id="${alert.id}"] > button`);
  await page.says('.strip-review .strip-facts', '张**');
  await page.says('.strip-review .strip-note', '其他患者');
});

/** A result of the monitor's patient, as list and stream have it. */
function result(metric, value) {
  const { county } = it;
  const reading = county.measure(county.monitor, metric, value, { lane: 'urgent' });
  county.results = [...county.results, { readings: [reading], moves: [] }];
  return reading;
}

const moves = () => it.county.asked.filter(({ url }) => url.endsWith('/reassign'))
  .map(({ url, body }) => [Number(url.split('/')[6]), body.from, body.patient, body.reason]);

test('two without a bed and with one masked name are told apart in rows, thumb button and undo bar, and nobody else is', async () => {
  const county = ward();
  const { monitor, oximeter } = county;
  const walk = (digit, name, fields) => make.patient(`p-${digit.repeat(32)}`, name, null, CLINIC, fields);
  const measured = make.at(county.ms - 3_600_000);
  const [old, young, alone] = [
    walk('a', '王**', { last_result_at: measured }),
    walk('b', '王**', { age_months: 300, sex: 'female' }), walk('c', '陈**', {}),
  ];
  county.patients.push(old, young, alone);
  const raise = (of, { patient }) => county.raise(of, 'high', { patient });
  const [first, second, third] = [old, young, alone].map((one) => raise(oximeter, one));
  const bedded = raise(monitor, county.patients[0]);
  const page = await it.open({ size: [760, 900] });
  const who = async (alert, words) => {
    await page.shows(rowOf(alert));
    assert.equal(await page.text(`${rowOf(alert)} .who`), words);
  };
  const oldWords = `无床位 王** · 70 岁 男 · 测于 ${beijing(county.ms - 3_600_000)}`;
  const youngWords = '无床位 王** · 25 岁 女';
  await who(first, oldWords);
  await who(second, youngWords);
  await who(third, '无床位 陈**');
  await who(bedded, '10床 张**');
  await page.says('.thumb-where', oldWords);
  await page.click('.thumb');
  await page.says(`${rowOf(first)} .panel`, oldWords);
  await page.click(`${rowOf(first)} [data-reason="at_bedside"]`);
  await page.says('.undo', oldWords);
  // The other went: nobody is like the one who is left.
  county.patients = county.patients.filter((one) => one !== young);
  county.say('patients', {});
  await page.until('there is one of that name', (css) => (
    document.querySelector(css).innerText === '无床位 王**'), `${rowOf(first)} .who`);
});

test("not this patient's: two clicks in the row of a spot alert, and back by undo", async () => {
  const county = ward();
  const other = result('glucose', '16.9');
  const { seq } = result('glucose', '17.2');
  const page = await it.open();
  const alert = county.raise(county.monitor, 'high', { patient: ZHANG, metric: 'glucose' });
  const stream = county.raise(county.monitor, 'high', { patient: ZHANG, metric: 'spo2' });
  await page.click(`${rowOf(alert)} .not-this`);
  await page.hides(`${rowOf(stream)} .not-this`);
  assert.deepEqual(moves(), []);
  await page.says(`${rowOf(alert)} .choice`, '放入待认领');
  await page.says(`${rowOf(alert)} [data-patient="${LI}"]`, '9床 李**');
  await page.click(`${rowOf(alert)} [data-patient="${LI}"]`);
  await page.says('.undo', '9床 李**');
  assert.deepEqual(moves(), [[seq, ZHANG, LI, 'wrong_patient']]);
  assert.notEqual(seq, other.seq);
  await page.click('.undo button');
  await page.hides('.undo');
  assert.deepEqual(moves()[1], [seq, LI, ZHANG, 'undone']);
  // What raised it is not there any more: nothing else is moved, and the row says so.
  county.results = [];
  await page.click(`${rowOf(alert)} .not-this`);
  await page.click(`${rowOf(alert)} [data-patient=""]`);
  await page.says(`${rowOf(alert)} .problem`, '未找到该数值');
  assert.equal(moves().length, 2);
});

test("not this patient's: of an alert that names a recheck the recheck is moved, and which it was is said", async () => {
  const county = ward();
  const BP = 'nibp_sys';
  const first = result(BP, '186');
  const alert = county.raise(county.monitor, 'medium', { patient: ZHANG, metric: BP, value: '186' });
  county.ms += 40 * 60_000;
  const again = result(BP, '192');
  county.change(alert.id, { value: '192' });
  const page = await it.open();
  await page.click(`${rowOf(alert)} .not-this`);
  await page.click(`${rowOf(alert)} [data-patient="${LI}"]`);
  await page.says('.undo', '收缩压 192 mmHg (10:10) 已转到 9床 李**');
  assert.deepEqual(moves(), [[again.seq, ZHANG, LI, 'wrong_patient']]);
  assert.notEqual(again.seq, first.seq);
  // What the county tells at once is bounded: what is older is asked for by parts.
  county.ms += 30 * 3_600_000;
  county.beat();
  await page.pass(1_000);
  county.asked = [];
  await page.click(`${rowOf(alert)} .not-this`);
  await page.until('it is asked for', () => window.__test.fetching === 0);
  const spans = () => county.asked.filter(({ url }) => url.includes('/trends'))
    .map(({ url }) => new URL(url, county.url).searchParams)
    .map((asked) => Date.parse(asked.get('to')) - Date.parse(asked.get('from')));
  await page.wait('both parts', async () => spans().length === 2);
  assert.ok(spans().every((ms) => ms <= 26 * 3_600_000), String(spans()));
});

test("not this patient's: who was measured today without a bed may be chosen, who was yesterday not", async () => {
  const county = ward();
  result('glucose', '17.2');
  // 09:30 where the clinics are: ten hours ago is yesterday there, and today at Greenwich.
  const hoursAgo = (hours) => make.at(county.ms - hours * 3_600_000);
  const walkIns = [[3, hoursAgo(9)], [4, hoursAgo(10)], [5, null]].map(([number, at]) => (
    make.patient(`p-${String(number).padStart(32, '0')}`, `王**`, null, CLINIC, { last_result_at: at })));
  county.patients.push(...walkIns);
  const page = await it.open();
  const row = rowOf(county.raise(county.monitor, 'high', { patient: ZHANG, metric: 'glucose' }));
  await page.click(`${row} .not-this`);
  // Everybody of one family has one masked name: what is known of them is said.
  await page.says(`${row} [data-patient="${walkIns[0].patient}"]`, '王** · ');
  await page.says(`${row} [data-patient="${walkIns[0].patient}"]`, '· 测于 00:30');
  const offered = await page.run((css) => [...document.querySelectorAll(`${css} .choice [data-patient]`)]
    .map((button) => button.dataset.patient), row);
  assert.deepEqual(offered.sort(), ['', LI, walkIns[0].patient].sort());
  await page.click(`${row} [data-patient="${walkIns[0].patient}"]`);
  await page.says('.undo', '测于 00:30');
  assert.equal(moves()[0][2], walkIns[0].patient);
});

test("not this patient's: who may be chosen stays under the finger, and another reason is typed", async () => {
  const county = ward();
  result('glucose', '17.2');
  const page = await it.open();
  const row = rowOf(county.raise(county.monitor, 'medium', { patient: ZHANG, metric: 'glucose' }));
  await page.click(`${row} .not-this`);
  const choice = `${row} [data-patient="${LI}"]`;
  const { y, x } = await page.box(choice);
  // Somebody in the bed before hers comes while the finger is on its way.
  const key = `p-${String(3).padStart(32, '0')}`;
  county.patients.push(make.patient(key, '王**', '1', CLINIC));
  county.say('patients', {});
  await page.shows(tile(1));
  // And a more urgent alert: it waits, and that it does is said.
  await page.pass(4_000);
  const worse = county.raise(county.oximeter, 'high');
  await page.shows(rowOf(worse));
  await page.pass(2_000);
  const now = await page.box(choice);
  assert.deepEqual([now.x, now.y], [x, y]);
  await page.says('.waiting', '有新变化');
  await page.click(`${row} .move-reason`);
  await page.type('手环戴错');
  await page.click(choice);
  await page.says('.undo', '9床 李**');
  assert.equal(moves()[0][3], '手环戴错');
  await page.pass(4_000);
  await page.until('the order is put right', (css) => (
    document.querySelector('.alerts .alert').matches(css)), rowOf(worse));
  // Who opens it again sees them all.
  await page.click(`${row} .not-this`);
  await page.says(`${row} [data-patient="${key}"]`, '1床 王**');
});

test("not this patient's: in the drawer the choice stays under the finger while another is measured", async () => {
  const county = ward();
  result('temp', '39.4');
  const page = await it.open();
  await page.click(`${tile(10)} .open`);
  await page.pass(50_000);
  await page.click('.drawer .result .not-this');
  const choice = `.drawer .result [data-patient="${LI}"]`;
  const { y } = await page.box(choice);
  result('glucose', '17.2');
  // The drawer asks each minute.
  await page.pass(15_000);
  assert.equal((await page.box(choice)).y, y);
  assert.equal(await page.run(() => document.querySelectorAll('.drawer .result').length), 1);
  await page.click('.drawer .result .not-this');
  await page.pass(1_000);
  await page.until('both are there', () => document.querySelectorAll('.drawer .result').length === 2);
});

test('who a device may be put on stays under the finger, and nothing is asked that is done', async () => {
  const county = ward();
  const pump = make.device(make.HEPING, 'heping-pump-01', 'pump', county.ms);
  county.devices.push(pump);
  const page = await it.open();
  await page.click('.tile[data-device="heping-pump-01"] .open');
  await page.click('.drawer .bind');
  const choices = () => page.run(() => [...document.querySelectorAll('.drawer .device-line [data-patient]')]
    .map((button) => button.dataset.patient));
  assert.deepEqual(await choices(), [LI, ZHANG]);
  county.patients.push(make.patient(`p-${String(3).padStart(32, '0')}`, '王**', '1', CLINIC));
  county.say('patients', {});
  await page.shows(tile(1));
  assert.deepEqual(await choices(), [LI, ZHANG]);
  // Another has put it on somebody: no button that takes it off comes under the finger.
  county.bind(pump, ZHANG);
  await page.says('.drawer-head', '10床');
  await page.hides('.drawer .device-line .choice');
});

test("not this patient's: every result among the numbers of the drawer", async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '80');
  const { seq } = result('temp', '39.4');
  const page = await it.open();
  await page.click(`${tile(10)} .open`);
  const cell = '.drawer .cell[data-cell="temp"]';
  await page.hides('.drawer .cell[data-cell="hr"] .not-this');
  await page.hides(`${tile(10)} .not-this`);
  await page.click(`${cell} .not-this`);
  // Another is measured between the clicks: what was on screen at the first is moved.
  county.measure(county.monitor, 'temp', '36.6', { lane: 'urgent' });
  await page.pass(1_000);
  await page.says(cell, '36.6');
  await page.click(`${cell} [data-patient=""]`);
  await page.says('.undo', '待认领');
  assert.deepEqual(moves(), [[seq, ZHANG, null, 'wrong_patient']]);
});

test("not this patient's: numbers that repeat go with their device, which two clicks beside them take off", async () => {
  const county = ward();
  county.measure(county.monitor, 'hr', '80');
  const ended = [];
  county.took['DELETE /bindings/1'] = () => {
    ended.push('1');
    county.move(county.monitor);
    return [200, county.ended[0]];
  };
  const page = await it.open();
  await page.click(`${tile(10)} .open`);
  const line = '.drawer .drawer-devices .device-line[data-device="heping-monitor-01"]';
  await page.shows(`${line} .cell[data-cell="hr"]`);
  await page.says(`${line} .bind`, '不是此患者');
  await page.click(`${line} .bind`);
  await page.says(`${line} .choice`, '从10床 张**取下');
  await page.click(`${line} .choice button`);
  await page.shows(nobodys);
  await page.says('.undo', 'heping-monitor-01 已从10床 张**取下');
  assert.deepEqual(ended, ['1']);
});

test('a pump on nobody says where its station stands, and is put on a patient in two clicks', async () => {
  const county = ward();
  const [station, pump] = ['heping-pump-01', 'heping-pump-01-40864']
    .map((name) => make.device(make.HEPING, name, 'pump', county.ms));
  county.devices.push(station, pump);
  county.bind(station, LI);
  county.measure(pump, 'spo2', '97');
  const alert = county.raise(pump, 'high', { metric: null, value: null });
  county.took['POST /bindings'] = ({ device, patient }) => {
    county.bind(pump, patient);
    return [201, county.bindings.find((one) => one.device === device)];
  };
  const page = await it.open();
  await page.says(rowOf(alert), '未关联患者(泵站在9床 李**)');
  await page.click(`${rowOf(alert)} .where`);
  await page.click('.drawer .bind');
  await page.click(`.drawer .device-line [data-patient="${LI}"]`);
  await page.says('.undo', 'heping-pump-01-40864 已接到9床 李**');
  // The drawer goes where the pump is now.
  await page.says('.drawer-head', '9床');
  await page.says('.drawer .health', 'heping-pump-01-40864');
  const { method, url, body } = county.asked.find((one) => one.method === 'POST' && one.url.endsWith('/bindings'));
  assert.deepEqual([method, url, body.patient], ['POST', '/api/v1/bindings', LI]);
});

test('an alert of a device at a bed without a patient names the bed; of one that went on it does not', async () => {
  const county = ward();
  county.move(county.monitor, null, '4');
  const page = await it.open();
  const nobodys = rowOf(county.raise(county.monitor, 'high'));
  await page.says(`${nobodys} .who`, '4床 未关联患者');
  assert.equal(await page.attribute(nobodys, 'data-bed'), '4');
  // It goes to a patient: what nobody's number raised is not theirs, nor of their bed.
  county.move(county.monitor, LI, '9');
  await page.until('it names no bed', (css) => document.querySelector(css).dataset.bed === '', nobodys);
  await page.until('nor does it say one', (css) => (
    document.querySelector(`${css} .who`).textContent === '未关联患者'), nobodys);
});

test('what comes again says since when, a tile counts what is behind, a box has no patient', async () => {
  const county = ward();
  const ago = (minutes) => county.ms - minutes * 60_000;
  const low = county.raise(county.monitor, 'low', {
    patient: ZHANG, metric: null, value: null, started_ms: ago(20), recurrences: 1,
    timeline: [make.step('raised', ago(20)), make.step('acknowledged', ago(18), { by: 'wang', reason: 'rechecking' }),
      make.step('recurred', ago(2), { detail: 'TECH-PROBEOFF' })],
  });
  county.raise(county.monitor, 'high', {
    patient: ZHANG, state: 'cleared_unack', condition: 'cleared_unack', started_ms: ago(9), cleared_at: make.at(ago(8)),
  });
  const box = county.raise(county.monitor, 'medium', { device: 'heping-01', metric: null, value: null });
  const page = await it.open();
  await page.says(rowOf(low), '自 09:28,首次 09:10');
  await page.says(rowOf(low), '曾确认:wang · 正在复测 · 09:12');
  await page.says(`${tile(10)} .tile-alert`, '另有 已恢复未确认 高 1');
  await page.says(`${rowOf(box)} .who`, CLINIC);
});
