// Pieces of drawing and their frames.

import assert from 'node:assert/strict';
import test from 'node:test';

const frames = [];
globalThis.window = { __clinicClock: { requestAnimationFrame: (run) => frames.push(run) } };
globalThis.document = { hidden: false };
const { turn } = await import('../js/clock.js');

/** One repaint. */
function repaint() {
  for (const run of frames.splice(0)) run();
}

test('each piece has a frame of its own, in the order in which they came', () => {
  const done = [];
  for (const name of ['beds', 'drawer', 'alerts']) turn(name, () => done.push(name));
  assert.deepEqual(done, []);
  for (const count of [1, 2, 3, 3]) {
    repaint();
    assert.equal(done.length, count);
  }
  assert.deepEqual(done, ['beds', 'drawer', 'alerts']);
  assert.deepEqual(frames, []);
});

test('a piece takes the place of the one of its name: none waits behind old ones', () => {
  const done = [];
  for (let tick = 0; tick < 3_000; tick += 1) turn('beds', () => done.push(tick));
  turn('alerts', () => done.push('alerts'));
  repaint();
  repaint();
  repaint();
  assert.deepEqual(done, [2_999, 'alerts']);
});

test('a piece that is not done yet goes on in the next frame', () => {
  const done = [];
  const beds = (left) => turn('beds', () => {
    done.push(left);
    if (left) beds(left - 1);
  });
  beds(2);
  turn('alerts', () => done.push('alerts'));
  for (let frame = 0; frame < 5; frame += 1) repaint();
  assert.deepEqual(done, [2, 'alerts', 1, 0]);
});

test('one that fails keeps no other from its frame', () => {
  const done = [];
  turn('beds', () => {
    throw new Error('not drawn');
  });
  turn('alerts', () => done.push('alerts'));
  assert.throws(repaint, /not drawn/);
  repaint();
  assert.deepEqual(done, ['alerts']);
});

test('a tab that is hidden has no frames and is drawn at once, with what waited', () => {
  const done = [];
  turn('beds', () => done.push('beds'));
  document.hidden = true;
  turn('alerts', () => done.push('alerts'));
  assert.deepEqual(done, ['beds', 'alerts']);
  document.hidden = false;
  repaint();
  turn('beds', () => done.push('later'));
  repaint();
  assert.deepEqual(done, ['beds', 'alerts', 'later']);
});
