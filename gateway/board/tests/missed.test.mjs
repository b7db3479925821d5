import assert from 'node:assert/strict';
import test from 'node:test';

globalThis.window = {};
const { joined } = await import('../js/missed.js');

test('of more gaps than are kept the nearest two are one, and none is lost', () => {
  const gaps = Array.from({ length: 20 }, (_, hour) => ({ fromMs: hour * 100, untilMs: hour * 100 + 10 }));
  assert.equal(joined(gaps), gaps);
  const near = { fromMs: 1950, untilMs: 1960 };
  assert.deepEqual(joined([...gaps, near]), [...gaps.slice(0, 19), { fromMs: 1900, untilMs: 1960 }]);
});
