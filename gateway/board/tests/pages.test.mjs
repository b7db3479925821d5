import assert from 'node:assert/strict';
import test from 'node:test';
import { readFileSync } from 'node:fs';
import { actionText } from '../js/format.js';
import { filledIn } from '../js/i18n.js';
import { asideLines, lostText, missingLines } from '../js/pages/missing.js';
import { condition, priorityText } from '../js/pages/rule-words.js';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const words = (language) => {
  const texts = JSON.parse(read(`texts/${language}.json`));
  const t = (key, values = {}) => {
    assert.ok(texts[key] !== undefined, key);
    return filledIn(texts[key], values);
  };
  t.has = (key) => texts[key] !== undefined;
  return t;
};
/** When it is looked at. */
const NOW = Date.parse('2026-11-22T08:30:00Z');
const rules = JSON.parse(read('../../configs/rules/default.json')).rules;

test('what is missing is one line for each cause, in words, with how much and when', () => {
  const lanes = [{
    lane: 'trend',
    missing: [
      { first: 2, last: 3, state: 'gap', cause: 'awaited', since: '2026-11-22T08:17:00Z', until: null },
      { first: 5, last: 8, state: 'dropped', cause: 'outbox_full', since: '2026-11-22T08:13:00Z', until: '2026-11-22T08:14:00Z' },
      { first: 10, last: 10, state: 'dropped', cause: 'outbox_full', since: '2026-11-22T08:20:00Z', until: '2026-11-22T08:21:00Z' },
    ],
  }, { lane: 'urgent', missing: [] }];
  assert.deepEqual(missingLines(lanes, NOW, words('en')), [
    'Values: 2 messages, not here yet, the box sends them again, since 2026-11-22 16:17',
    'Values: 5 messages, given up, the box\'s outbox was full, 2026-11-22 16:13 to 2026-11-22 16:21',
  ]);
  assert.deepEqual(missingLines(lanes, NOW, words('zh-CN')), [
    '2026-11-22 16:17 起,数值缺 2 条消息:尚未送到,网关会补传',
    '2026-11-22 16:13 至 2026-11-22 16:21,数值缺 5 条消息:网关存储已满,已丢弃',
  ]);
});

test('how often a link was lost in a day is said in words, and that it never was', () => {
  const lost = (times, seconds, at_least = false) => (
    ['en', 'zh-CN'].map((language) => lostText({ times, seconds, at_least }, words(language))));
  assert.deepEqual(lost(0, 0), ['Never lost in 24 h', '24 小时内未断线']);
  assert.deepEqual(lost(3, 2479), [
    'Lost 3 times in 24 h, 41\u00a0min in all', '24 小时内断线 3 次,共 41 分钟']);
  assert.deepEqual(lost(1, 40), ['Lost once in 24 h, for 40\u00a0s', '24 小时内断线 1 次,共 40 秒']);
  assert.deepEqual(lost(200, 7200, true), [
    'Lost at least 200 times in 24 h, at least 2\u00a0h\u00a00\u00a0min in all',
    '24 小时内断线至少 200 次,共至少 2 小时 0 分']);
});

test('what a box has not sent for a moment is under way, and not missing', () => {
  const since = '2026-11-22T08:17:00Z';
  const lanes = [{
    lane: 'wave',
    missing: [
      { first: 1, last: 7, state: 'gap', cause: 'awaited', since, until: null },
      { first: 9, last: 9, state: 'dropped', cause: 'outbox_full', since, until: since },
    ],
  }];
  const linesAfter = (ms) => missingLines(lanes, Date.parse(since) + ms, words('en')).length;
  assert.equal(linesAfter(59_000), 1);
  assert.equal(linesAfter(61_000), 2);
});

const LACKS = ': the message lacks d in the form of protocol version 1; it is kept aside';

test('why something could not be taken is said by its cause, and nobody reads what is for engineers', () => {
  const since = '2026-11-22T08:17:00Z';
  const causes = [
    `unreadable${LACKS}`, 'another_lane: the envelope is of another lane than its topic',
    'county_failed: the county failed on it; report this', 'the message lacks d',
    'unreadable: the message is not one CBOR item; it is kept aside', 'unknown',
  ];
  const lanes = [{
    lane: 'wave',
    missing: causes.map((cause, index) => ({
      first: index + 1, last: index + 1, state: 'quarantined', cause, since, until: null,
    })),
  }];
  assert.deepEqual(missingLines(lanes, NOW, words('zh-CN')), [
    '缺 2 条消息:已收到但无法识别,已另存',
    '缺 1 条消息:已收到但送错通道,已另存',
    '缺 1 条消息:已收到但县平台处理出错,已另存,请报告工程师',
    '缺 1 条消息:已收到但未能接收,已另存',
    '缺 1 条消息:已收到但未能接收,另存已满,未保存',
  ].map((text) => `2026-11-22 16:17 起,波形${text}`));
  assert.equal(missingLines(lanes, NOW, words('en'))[0],
    'Waveforms: 2 messages, came and could not be read, kept aside, since 2026-11-22 16:17');
  const dropped = [{
    lane: 'wave', missing: [{ first: 1, last: 3, state: 'dropped', cause: 'unknown', since: null, until: null }],
  }];
  assert.deepEqual(['zh-CN', 'en'].map((language) => missingLines(dropped, NOW, words(language))[0]), [
    '波形缺 3 条消息:网关已丢弃,原因不明',
    'Waveforms: 3 messages, given up by the box, nobody knows why',
  ]);
});

test('what is kept aside is said by its cause, with the number of records', () => {
  const later = (n) => `later_version: ${n} records or readings of a later version`;
  const aside = [
    [later(3), true], [`${later(2)}; devices_beyond: 4 records of devices beyond 1000 of the site`, true],
    ['conflict', false], [`unreadable${LACKS}`, false], ['7 records or readings of a later version', true],
  ].map(([cause, part_taken], seq) => ({ cause, part_taken, outbox: 'a', lane: 'wave', seq }));
  const said = (lanes, language) => asideLines(aside, lanes, words(language));
  assert.deepEqual(said([], 'zh-CN'), [
    '5 条记录或数值来自较新版本的网关,已另存,请升级县平台',
    '4 条记录来自超出上限的设备,已另存,请检查该网关',
    '1 条消息与已收到的同编号消息内容不同,已另存',
    '2 条消息未能全部接收,已另存',
  ]);
  // What is missing in its lane is said there; what came in part is missing in none.
  const missing = [{ first: 0, last: 9, state: 'quarantined', cause: 'unreadable', since: null, until: null }];
  assert.deepEqual(said([{ outbox: 'a', lane: 'wave', missing }], 'zh-CN').slice(2), [
    '1 条消息未能全部接收,已另存',
  ]);
  for (const other of [{ outbox: 'b', lane: 'wave' }, { outbox: 'a', lane: 'trend' }]) {
    assert.equal(said([{ ...other, missing }], 'zh-CN').length, 4);
  }
  assert.deepEqual(said([], 'en').slice(0, 1), [
    "5 records or readings of a later version of the box are kept aside; the county's program is to be renewed"]);
  assert.deepEqual(asideLines([], [], words('en')), []);
});

test('what was done to a device is said by its kind', () => {
  const said = (action) => ['zh-CN', 'en']
    .map((language) => actionText({ action, text: 'set to 16:30 local time' }, words(language)));
  assert.deepEqual(said('clock_set'), ['已按配置校准时钟', 'its clock was set, as the configuration says']);
  assert.deepEqual(said('of_a_later_agent'), ['对设备做了操作,见审计日志', 'something was done to it, see the audit log']);
});

test('a rule is written as people write it', () => {
  const said = (id) => condition(rules.find((one) => one.id === id), words('en'));
  // No line ends within a limit or an age.
  assert.equal(said('HR-AD-LL'), 'Heart rate <\u00a040\u00a0/min · 10\u00a0s · adult');
  const rule = (id) => said(id).replace(/\u00a0/g, ' ');
  assert.match(rule('BP-AD-SH'), /^Systolic ≥ 180 mmHg/);
  assert.match(rule('DEV-ASYSTOLE'), /^Device alarm/);
  // All that must be so is said: who reads less approves another rule.
  assert.equal(rule('GLU-AD-DKA'), 'Blood glucose ≥ 11.1 mmol/L · and Ketones ≥ 3 mmol/L within 1 h · adult');
  assert.match(rule('SPO2-COPD-O2H'), /· on oxygen · a doctor ordered it ·/);
  assert.match(rule('GLU-PR-2H'), /· after a meal · 2 h confirmed by a person ·/);
  assert.match(rule('FU-GLU-F'), /· fasting · 2 in a row ·/);
});

test('the priority of a rule that rises is said step by step', () => {
  const priority = (id, language) => priorityText(rules.find((one) => one.id === id), words(language))
    .replace(/\u00a0/g, ' ');
  assert.equal(priority('HR-AD-L', 'en'), 'Medium');
  assert.equal(priority('BP-AD-SH', 'zh-CN'), '中 → 高 · 复测仍超限');
  assert.equal(priority('TECH-LEADOFF', 'zh-CN'), '低 → 中 · 2 分钟后 · 监护中');
  assert.equal(priority('TECH-CLOCK', 'zh-CN'), '低 · > 2 秒 → 中 · > 60 秒');
  // A drug of the site's list makes it more urgent.
  assert.equal(priority('PUMP-NEAR-END', 'zh-CN'), '低(重点药物:中) · ≤ 30 分钟 → 中(重点药物:高) · ≤ 10 分钟');
  assert.equal(priority('DEV-INF-COMPLETE', 'en'), 'Medium (critical drug: High)');
  assert.equal(priority('TECH-SILENT', 'en'),
    'Low · after 30 s and 3 intervals → Medium · after 3 min → High · after 10 min · monitored');
});

test('every rule of the set that comes with it has words in both languages', () => {
  for (const language of ['zh-CN', 'en']) {
    const t = words(language);
    for (const rule of rules) {
      const text = condition(rule, t);
      const priority = priorityText(rule, t);
      assert.ok(text && !text.includes('undefined'), `${rule.id}: ${text}`);
      assert.ok(priority && !priority.includes('undefined'), `${rule.id}: ${priority}`);
      for (const name of rule.requires ?? []) assert.ok(t.has(`requirement.${name}`), name);
      for (const { when = {} } of [rule, ...rule.steps ?? []]) {
        for (const name of Object.keys(when)) assert.ok(t.has(`when.${name}`), name);
      }
      if (rule.also) assert.ok(t.has(`class.${rule.also.class}`), rule.also.class);
      if (rule.class) assert.ok(t.has(`class.${rule.class}`), rule.class);
      if (rule.source) assert.ok(t.has(`source.${rule.source}`), rule.source);
      if (rule.population) assert.ok(t.has(`population.${rule.population}`), rule.population);
    }
  }
});
