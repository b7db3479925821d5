import assert from 'node:assert/strict';
import test from 'node:test';
import { readFileSync } from 'node:fs';
import { lostText, missingLines } from '../js/pages/missing.js';
import { condition } from '../js/pages/rule-words.js';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const words = (language) => {
  const texts = JSON.parse(read(`texts/${language}.json`));
  const t = (key, values = {}) => {
    assert.ok(texts[key] !== undefined, key);
    return texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
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

test('a cause nobody translated is told as it was sent', () => {
  const lanes = [{
    lane: 'wave',
    missing: [{ first: 1, last: 1, state: 'quarantined', cause: 'lacks d', since: '2026-11-22T08:17:00Z', until: null }],
  }];
  assert.match(missingLines(lanes, NOW, words('zh-CN'))[0], /^2026-11-22 16:17 起,波形缺 1 条消息:.*lacks d/);
});

test('a rule is written as people write it', () => {
  const rule = (id) => condition(rules.find((one) => one.id === id), words('en'));
  assert.equal(rule('HR-AD-LL'), 'Heart rate < 40 /min · 10\u00a0s · adult');
  assert.match(rule('BP-AD-SH'), /^Systolic ≥ 180 mmHg/);
  assert.match(rule('DEV-ASYSTOLE'), /^Device alarm/);
});

test('every rule of the set that comes with it has words in both languages', () => {
  for (const language of ['zh-CN', 'en']) {
    const t = words(language);
    for (const rule of rules) {
      const text = condition(rule, t);
      assert.ok(text && !text.includes('undefined'), `${rule.id}: ${text}`);
      if (rule.class) assert.ok(t.has(`class.${rule.class}`), rule.class);
      if (rule.source) assert.ok(t.has(`source.${rule.source}`), rule.source);
      if (rule.population) assert.ok(t.has(`population.${rule.population}`), rule.population);
    }
  }
});
