import assert from 'node:assert/strict';
import test from 'node:test';
import { readFileSync, readdirSync } from 'node:fs';
import {
  ageText, dateTime, dateTimeSeconds, legible, noDataText, saidText, shortTime, shownValue, unitText, wordOf,
} from '../js/format.js';
import { filledIn } from '../js/i18n.js';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const zh = JSON.parse(read('texts/zh-CN.json'));
const en = JSON.parse(read('texts/en.json'));
const words = (texts) => {
  const t = (key, values = {}) => filledIn(texts[key], values);
  t.has = (key) => texts[key] !== undefined;
  return t;
};
const t = words(zh);

test('the number printed is the number that was compared, with every digit', () => {
  const sent = { value: '20', unit: 'mg/dL', comparator: '<' };
  assert.deepEqual(shownValue({ ...sent, canonical_value: '1.10', canonical_unit: 'mmol/L' }),
    { text: '< 1.10', unit: 'mmol/L' });
  assert.deepEqual(shownValue({ value: '5.00', unit: 'mL/h', comparator: null, canonical_value: null }),
    { text: '5.00', unit: 'mL/h' });
  assert.equal(shownValue({ value: '0', canonical_value: '0', comparator: null }).text, '0');
});

test('a reason that was ready is said in the reader\'s words, and other words are as somebody wrote them', () => {
  assert.equal(saidText('ready.nobody_came', t), '无人响应');
  assert.equal(saidText('ready.nobody_came', words(en)), 'nobody came');
  // Of the county, where a note from a box named the patient.
  assert.equal(saidText('ready.name_left_out', t), '(备注含患者姓名,已略去)');
  for (const own of ['无人响应', 'worse', 'ready. go', 'shelve.do', '']) assert.equal(saidText(own, words(en)), own);
});

test('units are printed as people write them', () => {
  assert.equal(unitText('mm[Hg]', t), 'mmHg');
  assert.equal(unitText('Cel', t), '°C');
  assert.equal(unitText('/min', t), '次/分');
  assert.equal(unitText('/min', words(en)), '/min');
  assert.equal(unitText('mL/h', t), 'mL/h');
  assert.equal(unitText(null, t), '');
});

test('why there is no value is said in words, with the device\'s code', () => {
  assert.equal(noDataText('lead_off', t), '导联脱落');
  assert.equal(noDataText('device_error:E43', t), '设备故障(E43)');
  assert.equal(noDataText('something_new', t), 'something_new');
});

test('an enumeration nobody translated is shown as sent', () => {
  assert.equal(wordOf('value.pump_state', 'kvo', t), '保持静脉通路(KVO)');
  assert.equal(wordOf('value.pump_state', 'odd', t), 'odd');
});

test('what no font can show is said in words and never left out', () => {
  const drug = '去甲\u{E021}';
  assert.equal(wordOf('value.pump_drug', drug, t), '去甲〔无法显示的字 U+E021〕');
  assert.equal(legible('\uFFFDa\u{F0000}', words(en)),
    '[character that cannot be shown: U+FFFD]a[character that cannot be shown: U+F0000]');
  // What people write stays as it is.
  for (const text of ['去甲肾上腺素', '𠮷', 'µg/kg/min', '⚠ 〔a〕', 'INSOLSN']) assert.equal(legible(text, t), text);
});

test('ages', () => {
  const ages = [-5, 59_999, 130_000, 3_599_000, 7_500_000, 300_000_000];
  assert.deepEqual(ages.map((ms) => ageText(ms, words(en))),
    // No line ends within an age.
    ['0 s', '59 s', '2 min 10 s', '59 min', '2 h 5 min', '3 d'].map((age) => age.replace(/ /g, '\u00a0')));
  assert.equal(ageText(130_000, words(en), true), '2\u00a0min');
});

test('times are the county\'s, 24 h, whatever zone the computer has', () => {
  const at = Date.parse('2026-11-22T16:05:09Z');
  assert.equal(dateTime(at), '2026-11-23 00:05');
  assert.equal(dateTimeSeconds(at), '2026-11-23 00:05:09');
  assert.equal(shortTime(at, at), '00:05');
  assert.equal(shortTime(at, at + 86_400_000), '2026-11-23 00:05');
});

test('both languages have the same texts with the same places', () => {
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  const places = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();
  for (const key of Object.keys(zh)) assert.deepEqual(places(zh[key]), places(en[key]), key);
});

test('of one thing English speaks as of one', () => {
  const said = (key, values) => words(en)(key, values);
  assert.equal(said('banner.back', { age: '12 min', n: 1 }), 'Connected again after 12 min; 1 new alert meanwhile');
  assert.equal(said('banner.back', { age: '12 min', n: 0 }), 'Connected again after 12 min; 0 new alerts meanwhile');
  assert.equal(said('upkeep.days', { n: '1' }), '1 day');
  assert.equal(said('devices.late', { n: 1, from: 'a', until: 'b', alerts: 2 }),
    'Last late data: 1 value measured a to b, 2 alerts from it');
  assert.equal(said('offline.login', { n: 1 }),
    '1 acknowledged offline on this computer was not sent: the person who did it must log in');
  // What is never one: a flood begins at eleven, a loss of one is `once`, days of the audit are seven.
  const many = ['alerts.flood', 'devices.lost.times', 'audit.days', 'rule_mistake.populations'];
  const counted = /\{(?:n|count|alerts|readings|all|months|days|hours)\} (?:(?:new|low|lesser|edge) )?[a-z]+s\b/;
  const fixed = Object.keys(en).filter((key) => counted.test(en[key]) && !many.includes(key));
  assert.deepEqual(fixed.map((key) => en[key]), []);
});

test('every metric that has a word of nurses is one of the catalogue', () => {
  const catalogue = new Set(read('../../drivers/model/metrics.csv').split('\n').map((row) => row.split(',')[0]));
  const named = Object.keys(en).filter((key) => key.startsWith('metric.'));
  assert.ok(named.includes('metric.spo2'));
  assert.deepEqual(named.filter((key) => !catalogue.has(key.slice('metric.'.length))), []);
});

test('every text that the page names is there, and every one that is there is named', () => {
  const plain = new Set();
  /** `missing.${state}.${word}`: how texts are named whose places a word of the page, the county or a device fills. */
  const forms = new Map();
  const files = (folder, kind) => readdirSync(new URL(`../${folder}/`, import.meta.url), { recursive: true })
    .filter((name) => kind.test(name)).map((name) => [name, read(`${folder}/${name}`)]);
  const page = files('js', /\.js$/);
  for (const [file, code] of page) {
    for (const [, key] of code.matchAll(/'([a-z]\w*(?:\.[\w-]+)*)'/g)) if (zh[key]) plain.add(key);
    for (const [, key] of code.matchAll(/\bt\('([^']+)'/g)) {
      assert.ok(zh[key] !== undefined, `${file}: ${key}`);
      plain.add(key);
    }
    const named = [...code.matchAll(/(wordOf\()?[`']([a-z][\w.-]*(?:\$\{[^}]*\}[\w.-]*)*)[`']/g)]
      .map(([, prefixed, form]) => (prefixed ? `${form}.\${}` : form));
    for (const form of named.filter((one) => /^\w+\..*\$\{/.test(one))) {
      const parts = form.split(/\$\{[^}]*\}/).map((part) => part.replace(/\./g, '\\.'));
      forms.set(form, new RegExp(`^${parts.join('(.+)')}$`));
    }
  }
  for (const [form, is] of forms) assert.ok(Object.keys(zh).some((key) => is.test(key)), `nothing is named ${form}`);
  const said = [
    ...page, ...files('../src', /\.(rs|json)$/), ...files('../rules/src', /\.rs$/), ...files('../../drivers', /\.(rs|csv|md)$/), ...files('../../configs/rules', /\.json$/),
  ].map(([, text]) => text).join('\n');
  /** A number may have been filled in. */
  const plainly = (text) => text.replace(/\d+|\{\w+\}/g, '#');
  const sentences = plainly(said);
  const spoken = new Set(said.match(/[\w-]+/g));
  const isSaid = (word) => (/^[\w-]+$/.test(word) ? spoken.has(word) : sentences.includes(plainly(word)));
  const idle = Object.keys(zh).filter((key) => !plain.has(key)
    && ![...forms.values()].some((is) => is.exec(key)?.slice(1).every(isSaid)));
  assert.deepEqual(idle, []);
});
