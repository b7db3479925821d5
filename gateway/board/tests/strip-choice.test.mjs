import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { StripChoice } from '../js/strip-choice.js';

beforeEach(() => {
  const kept = new Map();
  globalThis.localStorage = {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, text) => kept.set(name, text),
    removeItem: (name) => kept.delete(name),
  };
});

const monitors = (count) => Array.from({ length: count }, (_, index) => `m${index + 1}`);

test('all strips are there where monitors are few, and stay when another comes', () => {
  const choice = new StripChoice();
  assert.deepEqual([...choice.of(monitors(4))], monitors(4));
  assert.equal(choice.offers, false);
  assert.deepEqual([...choice.of(['m0', ...monitors(4)])], monitors(4));
  assert.equal(choice.offers, true);
});

test('of many none is there until somebody wants it, also after a reload', () => {
  const choice = new StripChoice();
  assert.deepEqual([...choice.of(monitors(9))], []);
  choice.toggle('m7');
  assert.deepEqual([...choice.of(monitors(9))], ['m7']);
  const again = new StripChoice();
  assert.deepEqual([...again.of(monitors(9))], ['m7']);
  again.toggle('m7');
  assert.deepEqual([...again.of(monitors(9))], []);
});

test('no more strips than the county sends to one board', () => {
  const choice = new StripChoice();
  choice.of(monitors(80));
  for (const key of monitors(80)) choice.toggle(key);
  assert.equal(choice.of(monitors(80)).size, 63);
});

test('what a browser kept and nobody understands is forgotten', () => {
  localStorage.setItem('board.strips', '{');
  assert.deepEqual([...new StripChoice().of(monitors(9))], []);
});

test('where the browser keeps nothing a strip still comes and goes', () => {
  localStorage.setItem('board.strips', '{');
  localStorage.setItem = () => {
    throw new Error('QuotaExceededError');
  };
  const choice = new StripChoice();
  choice.of(monitors(9));
  choice.toggle('m7');
  assert.deepEqual([...choice.of(monitors(9))], ['m7']);
  assert.deepEqual([...new StripChoice().of(monitors(9))], ['m7'], 'until the page is left');
  assert.equal(localStorage.getItem('board.strips'), null, 'what was kept before is old');
  choice.toggle('m7');
  assert.deepEqual([...choice.of(monitors(9))], []);
});
