import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

globalThis.window = {};
const { refusalText } = await import('../js/refusal.js');
const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
const { properties } = read('../../src/api/openapi.json').components.schemas.Problem;
/** What the county sends with a refusal, and what the board makes of it. */
const GIVEN = new Set([...Object.keys(properties), 'by']);

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

test('a word that the board does not know is said as the county says it', () => {
  assert.equal(refusalText({ problem: { code: 'of_tomorrow' }, message: 'try again' }), 'try again');
  assert.equal(refusalText({ problem: {}, message: 'status 502' }), 'status 502');
});
