import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

globalThis.window = {};
const { refusalText } = await import('../js/refusal.js');
const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
const { schemas, responses } = read('../../src/api/openapi.json').components;
const { properties } = schemas.Problem;
const { properties: { mistakes: MISTAKES } } = responses.RuleMistakes
  .content['application/problem+json'].schema.allOf[1];
/** What the county sends with a refusal, and what the board makes of it; its detail is English. */
const GIVEN = new Set([...Object.keys(properties), 'by', 'n', 'mistakes']);
GIVEN.delete('detail');

for (const language of ['zh-CN', 'en']) {
  test(`the board has a text for every refusal of the county and for no other, ${language}`, () => {
    const texts = Object.entries(read(`../texts/${language}.json`))
      .filter(([key]) => key.startsWith('refusal.'));
    assert.deepEqual(texts.map(([key]) => key.slice('refusal.'.length)).sort(), [...properties.code.enum].sort());
    for (const [key, text] of texts) {
      for (const [, name] of text.matchAll(/\{(\w+)\}/g)) assert.ok(GIVEN.has(name), `${key}: ${name}`);
    }
  });
}

test('every mistake of a rule set has words in both languages', () => {
  const codes = [...MISTAKES.items.properties.code.enum].sort();
  const [zh, en] = ['zh-CN', 'en'].map((language) => read(`../texts/${language}.json`));
  for (const texts of [zh, en]) {
    const known = Object.keys(texts).map((key) => /^rule_mistake\.(?!line$)(.+)$/.exec(key)?.[1]);
    assert.deepEqual(known.filter(Boolean).sort(), codes);
  }
  const values = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  for (const code of codes) {
    const key = `rule_mistake.${code}`;
    assert.deepEqual(values(zh[key]), values(en[key]), key);
    assert.ok(!values(zh[key]).includes('why'), `${key}: it is English`);
  }
});

test('a word that the board does not know is said as the county says it', () => {
  assert.equal(refusalText({ problem: { code: 'of_tomorrow' }, message: 'try again' }), 'try again');
  assert.equal(refusalText({ problem: {}, message: 'status 502' }), 'status 502');
});
