import assert from 'node:assert/strict';
import test from 'node:test';
import { CountyOffset, elapsedMs, steadyClock } from '../js/clock.js';

test('the page\'s time does not follow a computer\'s clock that is set back', () => {
  const at = { wall: 1_000_000, mono: 0 };
  const now = steadyClock(() => at.wall, () => at.mono);
  at.wall -= 3_600_000;
  at.mono += 20_000;
  assert.equal(now(), 1_020_000);
});

test('a computer that slept is that much later, also after its clock was set back', () => {
  const at = { wall: 1_000_000, mono: 0 };
  const now = steadyClock(() => at.wall, () => at.mono);
  at.wall += 600_000;
  assert.equal(now(), 1_600_000);
  at.wall -= 3_600_000;
  assert.equal(now(), 1_600_000);
  at.wall += 60_000;
  assert.equal(now(), 1_660_000);
});

test('small steps of the computer\'s clock do not add up', () => {
  const at = { wall: 0, mono: 0 };
  const now = steadyClock(() => at.wall, () => at.mono);
  for (let step = 1; step <= 100; step += 1) {
    at.mono += 50;
    at.wall = step * 50 + (step % 2) * 20;
    now();
  }
  assert.equal(now(), 5_000);
});

test('how long something is known: a sleep counts, a clock that is set does not', () => {
  const [before, minute, hour] = [{ mono: 0, page: 1_000, county: 9_000 }, 60_000, 3_600_000];
  const after = (mono, page, county) => elapsedMs(before, {
    mono, page: before.page + page, county: before.county + county,
  });
  assert.equal(after(minute, minute, minute), minute);
  // It slept for an hour.
  assert.equal(after(minute, minute + hour, minute + hour), minute + hour);
  // The computer's clock was set ahead by an hour, and the county's told so.
  assert.equal(after(minute, minute + hour, minute), minute);
  // The county's clock was set ahead, and back.
  assert.equal(after(minute, minute, minute + hour), minute);
  assert.equal(after(minute, minute, minute - hour), minute);
});

test('of messages the least delayed one counts', () => {
  const offset = new CountyOffset();
  assert.equal(offset.ms(), 0);
  offset.heard(10_000, 10_300);
  offset.heard(15_000, 15_050);
  offset.heard(20_000, 20_900);
  assert.equal(offset.ms(), -50);
});

test('a delivery that is always late does not move the clock: an answer bounds it', () => {
  const offset = new CountyOffset();
  for (let at = 100_000; at < 140_000; at += 5_000) offset.heard(at - 30_000, at);
  assert.equal(offset.ms(), -30_000);
  offset.answered(140_000, 140_000, 140_100);
  assert.equal(offset.ms(), -100);
  offset.heard(115_000, 145_000);
  assert.equal(offset.ms(), -100);
});

test('an answer shows that the page\'s clock leapt ahead', () => {
  const offset = new CountyOffset();
  offset.heard(100_000, 100_000);
  offset.answered(110_000, 3_710_000, 3_710_200);
  offset.heard(115_000, 3_715_000);
  assert.equal(offset.ms(), -3_600_000);
});

test('what names no time is not heard', () => {
  const offset = new CountyOffset();
  offset.heard(Number.NaN, 5);
  offset.answered(Number.NaN, 5, 6);
  assert.equal(offset.ms(), 0);
});
