import assert from 'node:assert/strict';
import test from 'node:test';

// The clock asks the window for nothing here.
globalThis.window = { location: { hash: '' } };
const { pageOf } = await import('../js/pages.js');
const { hourOfWeek } = await import('../js/pages/duty.js');

test('an address names a page, and anything else is the board', () => {
  const pages = [{ key: 'tray' }, { key: 'audit' }];
  assert.equal(pageOf('#tray', pages), pages[0]);
  assert.equal(pageOf('#audit?from=1', pages), pages[1]);
  assert.equal(pageOf('', pages), null);
  assert.equal(pageOf('#bed=b1', pages), null);
  assert.equal(pageOf('#people', pages), null);
});

test('the week of the duty plan begins on Monday at midnight in Shanghai', () => {
  assert.equal(hourOfWeek(Date.parse('2026-11-22T16:00:00Z')), 0);
  assert.equal(hourOfWeek(Date.parse('2026-11-22T15:59:59Z')), 167);
  assert.equal(hourOfWeek(Date.parse('2026-11-26T01:30:00Z')), 3 * 24 + 9);
});
