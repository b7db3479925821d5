// Every number of a patient, on every page and on paper, says which metric it is, how old and how
// stale it is, and is the one that the county stored (nurse board, chapter 10).

import assert from 'node:assert/strict';
import test from 'node:test';
import * as make from './fixtures.mjs';
import { morning } from './office.mjs';
import { stand } from './stand.mjs';

const it = stand();
const MINUTE_MS = 60_000;

/** A ward in which no two numbers are alike; `stored` is what the county knows of each. */
function ward() {
  const { county } = it;
  const { first, cuff } = morning(county, 'doctor');
  const meter = make.device(make.HEPING, 'heping-glu-01', 'glucose_meter', county.ms);
  county.devices.push(meter);
  county.bind(meter, first.patient);
  const stored = new Map();
  const know = (text, metric, at, unit = null) => stored.set(text, { metric, at, unit });
  const reading = (of, metric, value, minutes, more = {}) => {
    const at = county.ms - minutes * MINUTE_MS;
    know([more.comparator, value].filter(Boolean).join(' '), metric, at);
    return make.reading(of, metric, value, at, { patient: first.patient, ...more });
  };
  const pressure = (of, minutes, values, more = {}) => ['nibp_sys', 'nibp_dia', 'nibp_mean'].map(
    (metric, index) => reading(of, metric, values[index], minutes, {
      group: 'g', seq: 5000 + minutes, index, ...more,
    }),
  );
  county.monitor.latest = [
    reading(county.monitor, 'hr', '137', 0), reading(county.monitor, 'spo2', '91', 0),
    reading(county.monitor, 'temp', '38.6', 12), reading(county.monitor, 'batt_pct', '73', 0),
    ...pressure(county.monitor, 7, ['173', '107', '128']),
  ];
  for (const [text, metric] of [['23.1', 'nibp_sys'], ['14.3', 'nibp_dia']]) {
    know(text, metric, county.ms - 7 * MINUTE_MS, 'kPa');
  }
  meter.latest = [reading(meter, 'glucose', '1.1', 15, { comparator: '<', context: { meal: 'meal_fast' } })];
  county.results = [
    pressure(county.monitor, 130, ['164', '98', '119']),
    [reading(meter, 'glucose', '13.7', 140, { context: { meal: 'meal_post' } })],
  ].map((readings) => ({ readings, moves: [] }));
  for (const [text, metric] of [['21.9', 'nibp_sys'], ['13.1', 'nibp_dia']]) {
    know(text, metric, county.ms - 130 * MINUTE_MS, 'kPa');
  }
  county.series = [['hr', ['132', '129', '144']], ['spo2', ['94', '89', '96']]].map(([metric, [median, min, max]]) => {
    const at = county.ms - 5 * MINUTE_MS;
    for (const text of [median, min, max]) know(text, metric, at);
    return {
      site: county.monitor.site,
      device: county.monitor.device,
      channel: '',
      metric,
      unit: metric === 'hr' ? '/min' : '%',
      points: [{
        at: make.at(at), median, min, max, count: 60, backfilled: false, doubted: false,
      }],
    };
  });
  county.offers = [{
    patient: first.patient, rules: ['HR-AD-H'], alerts: [], values: [],
  }];
  const raise = (of, priority, metric, value, minutes, more = {}) => {
    const at = county.ms - minutes * MINUTE_MS;
    know([more.comparator, value].filter(Boolean).join(' '), metric, at);
    county.raise(of, priority, {
      patient: first.patient, metric, value, started_ms: at, ...more,
    });
  };
  raise(county.monitor, 'medium', 'hr', '151', 4, { limit: '> 120' });
  raise(county.monitor, 'high', 'nibp_sys', '188', 9, { unit: 'mm[Hg]', limit: '≥ 180' });
  know('25.1', 'nibp_sys', county.ms - 9 * MINUTE_MS, 'kPa');
  const over = { state: 'cleared_unack', condition: 'cleared_unack', cleared_at: make.at(county.ms) };
  raise(meter, 'high', 'glucose', '33.3', 20, { comparator: '>', unit: 'mmol/L', limit: '> 16.7', ...over });
  const [waiting] = county.waiting;
  county.waiting = [{ ...waiting, readings: pressure(cuff, 61, ['177', '109', '131']) }];
  const visits = county.more['/followup']();
  visits.people[0].visits = [{
    day: '2026-11-06', missed: ['FU-BP-S'], readings: pressure(cuff, 30_000, ['152', '93', '113']),
  }];
  visits.once = [];
  county.more['/followup'] = () => visits;
  return { stored, first };
}

/** In the page: each place where one of these texts is printed, and what is said of it there. */
function printed(texts, css) {
  const sheet = document.querySelector('#paper')?.contentDocument;
  const root = css === 'paper' ? sheet.body : document.querySelector(css);
  const walk = root.ownerDocument.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walk.nextNode()) {
    const { data, parentElement: element } = walk.currentNode;
    // No digits of a day or an hour.
    const bare = data.replace(/\d{4}-\d\d-\d\d|\d\d:\d\d(:\d\d)?/g, '');
    for (const text of texts) {
      const digits = text.replace('.', '\\.');
      if (!new RegExp(`(^|[^\\d.])${digits}(?![\\d.])`).test(bare)) continue;
      const { metric, ageS, stale, unit = null } = element.dataset;
      found.push({
        text, shown: element.textContent, metric, age: ageS, stale, unit, line: data,
      });
    }
  }
  return found;
}

/** Every number that is printed says what the county knows of it; these are among them. */
async function holds(page, stored, wanted, where, css = 'body') {
  const { ms } = it.county;
  const found = await page.run(printed, [...stored.keys()], css);
  for (const { text, shown, metric, age, stale, unit, line } of found) {
    const known = stored.get(text);
    const said = `${where}: ${text} in "${line}"`;
    assert.deepEqual([shown, metric, unit], [text, known.metric, known.unit], said);
    assert.equal(Number(age), Math.floor((ms - known.at) / 1000), `${said} says its age`);
    assert.match(String(stale), /^(fresh|ageing|stale)$/, `${said} says how stale it is`);
  }
  const texts = new Set(found.map(({ text }) => text));
  assert.deepEqual(wanted.filter((text) => !texts.has(text)), [], `${where} prints them`);
}

test('a device that speaks every five minutes keeps its number between two words, and no longer', async () => {
  const { county } = it;
  county.monitor.expected_interval_ms = 300_000;
  county.measure(county.monitor, 'spo2', '91');
  const alert = county.raise(county.monitor, 'medium', { metric: 'spo2', value: '91', limit: '< 92' });
  const page = await it.open();
  const numbers = [`.tile[data-device="${county.monitor.device}"]`, `[data-alert-id="${alert.id}"]`]
    .map((place) => `${place} [data-metric="spo2"]`);
  const seen = async () => Promise.all(numbers.map(async (css) => (
    [await page.text(css), await page.attribute(css, 'data-stale')])));
  await page.says(numbers[0], '91');
  await page.pass(290_000);
  assert.deepEqual(await seen(), [['91', 'fresh'], ['91', 'fresh']]);
  await page.pass(20_000);
  assert.deepEqual(await seen(), [['91', 'ageing'], ['91', 'ageing']]);
  await page.pass(580_000);
  assert.deepEqual(await seen(), [['91', 'ageing'], ['91', 'ageing']]);
  await page.pass(20_000);
  assert.deepEqual(await seen(), [['--', 'stale'], ['--', 'stale']]);
});

for (const language of ['zh-CN', 'en']) {
  test(`every printed number says what it is and is the stored one, ${language}`, async () => {
    const { stored, first } = ward();
    const page = await it.open({ language });
    const turn = async (name) => {
      await page.run((hash) => {
        window.location.hash = hash;
      }, name);
      await page.pass(1000);
    };
    const live = ['137', '91', '38.6', '173', '107', '128', '< 1.1'];
    await holds(page, stored, [...live, '151', '188', '> 33.3'], 'the board');
    await turn(`bed=${first.patient}`);
    await page.shows('.drawer .result-value');
    await page.shows('.plot[data-metric="nibp"]');
    await page.click('.kpa-option');
    await page.pass(1000);
    await holds(page, stored, [
      ...live, '164', '98', '119', '13.7', '132', '129', '144', '94', '89', '96', '151', '188', '> 33.3', '73',
      '23.1', '14.3', '21.9', '13.1', '25.1',
    ], 'the drawer');
    // They grow older where nothing else changes.
    const age = () => page.attribute('.drawer .result-value [data-metric]', 'data-age-s');
    const before = Number(await age());
    await page.pass(3000);
    assert.equal(Number(await age()), before + 3);
    for (const [name, wanted] of [
      ['tray', ['177', '109', '131']], ['followup', ['152', '93', '113']],
      ['handover', ['151', '188', '> 33.3']], ['devices', ['73']],
    ]) {
      await turn(name);
      await page.shows(`.page[data-page="${name}"] .page-body > *`);
      await holds(page, stored, wanted, name, '.page');
      if (!['followup', 'handover'].includes(name)) continue;
      const paper = await page.paper();
      await page.click('.page .print');
      await paper('it is printed', (sheet) => sheet.body.dataset.printed === 'true');
      await holds(page, stored, wanted, `${name} on paper`, 'paper');
      await page.run(() => document.querySelector('#paper').remove());
    }
  });
}
