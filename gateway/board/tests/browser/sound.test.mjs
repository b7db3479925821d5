// Checks of the sound (nurse board, chapter 10), by number and name.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as make from './fixtures.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
/** How long each sound is, in seconds: by that the ear tells them apart. */
const LENGTHS = { high: 3.175, medium: 1, low: 0.6 };

/** When each sound of that pattern began, by the page's clock. */
const heard = async (page, pattern) => {
  const sounds = await page.run(() => window.__test.sounds);
  return sounds.filter(({ seconds }) => Math.abs(seconds - LENGTHS[pattern]) < 0.01)
    .map(({ at }) => at);
};

async function withSound(options) {
  const page = await it.open(options);
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  return page;
}

test('7. sound gate: suspended until somebody presses it, then three sounds', async () => {
  const page = await it.open();
  const states = () => page.run(() => window.__test.contexts.map(({ state }) => state));
  assert.deepEqual(await states(), ['suspended']);
  assert.equal(await page.attribute('.topbar', 'data-sound'), 'off');
  await page.says('.sound-gate', '声音未启用 – 点击启用并试听');
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  assert.deepEqual(await states(), ['running']);
  await page.hides('.sound-gate');
  for (const pattern of ['high', 'medium', 'low']) {
    assert.equal((await heard(page, pattern)).length, 1, pattern);
  }
  // The computer takes it away: the board says so.
  await page.run(() => window.__test.contexts[0].suspend());
  await page.shows('[data-sound="blocked"]');
  await page.says('.sound-gate', '点击恢复并试听');
});

/** In the page: where pulses begin in a sound that is rendered without a loudspeaker, in seconds. */
async function rendered(pattern) {
  const { sourceOf } = await import('/js/sound.js');
  const rate = 44_100;
  const context = new OfflineAudioContext(1, 5 * rate, rate);
  const source = sourceOf(context, pattern);
  source.connect(context.destination);
  source.start();
  const samples = (await context.startRendering()).getChannelData(0);
  const step = rate / 200;
  const onsets = [];
  let quiet = Infinity;
  for (let at = 0; at < samples.length; at += step) {
    const loud = Math.max(...samples.subarray(at, at + step)) > 0.05;
    if (loud && quiet > 4) onsets.push(at / rate);
    quiet = loud ? 0 : quiet + 1;
  }
  return onsets;
}

test('8. sound pattern: ten pulses, three, one or two; repeated; silent when acknowledged', async () => {
  const page = await withSound();
  const { county } = it;
  const [high, medium, low] = await Promise.all(
    ['high', 'medium', 'low'].map((pattern) => page.run(rendered, pattern)),
  );
  assert.equal(high.length, 10);
  const gaps = high.slice(1).map((at, index) => Math.round((at - high[index]) * 1000));
  assert.deepEqual(gaps.map((ms) => (ms > 300 ? 'rest' : 'next')),
    ['next', 'next', 'rest', 'next', 'rest', 'next', 'next', 'rest', 'next']);
  assert.equal(medium.length, 3);
  assert.ok(low.length === 1 || low.length === 2);

  for (const [priority, every, slack] of [['medium', 30_000, 2_000], ['high', 10_000, 1_000]]) {
    const before = (await heard(page, priority)).length;
    county.raise(county.monitor, priority);
    await page.pass(3 * every + slack);
    const times = (await heard(page, priority)).slice(before);
    assert.ok(times.length >= 4, `${priority}: ${times}`);
    times.slice(1).forEach((at, index) => {
      assert.ok(Math.abs(at - times[index] - every) <= slack, `${priority}: ${times}`);
    });
  }
  // A phone shakes with them.
  assert.ok((await page.run(() => window.__test.shaken)).length >= 8);
  const other = await withSound({ user: 'wang' });
  // None ends by itself: whatever began is stopped by the board or sounds on.
  for (const one of [page, other]) await one.run(() => {
    AudioBufferSourceNode.prototype.addEventListener = () => {};
  });
  const [alert] = [...county.alerts.values()].filter(({ priority }) => priority === 'high');
  await page.pass(10_000);
  const row = rowOf(alert);
  await other.click(`${row} .ack`);
  await other.click(`${row} [data-reason="at_bedside"]`);
  await page.shows(`${row}[data-state="active_ack"]`);
  const acknowledged = county.ms;
  await page.pass(60_000);
  for (const one of [page, other]) {
    const late = (await heard(one, 'high')).filter((at) => at > acknowledged + 2_000);
    assert.deepEqual(late, []);
    const stopped = await one.run(() => window.__test.silenced);
    assert.ok(stopped.some(({ at, seconds }) => (
      at >= acknowledged && at <= acknowledged + 2_000 && seconds > 3)), JSON.stringify(stopped));
  }
  assert.ok((await heard(page, 'medium')).some((at) => at > acknowledged), 'the medium one goes on');
});

test('8. what came late, what is over and what somebody has in hand makes no sound', async () => {
  const page = await withSound();
  const { county } = it;
  const before = (await page.run(() => window.__test.sounds)).length;
  const cleared = { state: 'cleared_unack', condition: 'cleared_unack' };
  county.raise(county.monitor, 'high', { ...cleared, retro: true, late_row: 2 });
  county.raise(county.monitor, 'high', cleared);
  county.raise(county.monitor, 'high', { state: 'active_ack', condition: 'active_ack' });
  await page.pass(60_000);
  assert.equal((await page.run(() => window.__test.sounds)).length, before);
  // A low one sounds once; a late result that asks for another too, whatever its priority.
  county.raise(county.monitor, 'low');
  county.raise(county.monitor, 'high', { late_row: 5 });
  await page.pass(60_000);
  const lately = (await page.run(() => window.__test.sounds)).slice(before);
  assert.deepEqual(lately.map(({ seconds }) => Math.round(seconds * 10) / 10), [0.6, 3.2]);
});

test('8. what is over and unseen is heard once with each reminder of the county, by whoever is there', async () => {
  const page = await withSound();
  const { county } = it;
  const cleared = () => ({
    state: 'cleared_unack', condition: 'cleared_unack', cleared_at: make.at(county.ms),
  });
  const over = county.raise(county.monitor, 'high', cleared());
  const late = county.raise(county.monitor, 'high', { ...cleared(), retro: true, late_row: 6 });
  const remind = ({ id }) => {
    const { timeline } = county.alerts.get(id);
    county.change(id, { timeline: [...timeline, make.step('reminded', county.ms)] });
  };
  await page.shows(rowOf(over));
  const before = (await heard(page, 'high')).length;
  const times = [];
  for (let count = 0; count < 2; count += 1) {
    await page.pass(300_000);
    times.push(county.ms);
    remind(over);
    remind(late);
    await page.pass(60_000);
  }
  assert.deepEqual((await heard(page, 'high')).slice(before), times);
  // A board that is opened meanwhile does not say it again; the next one it says too.
  const other = await withSound({ user: 'wang' });
  const trial = (await heard(other, 'high')).length;
  await page.pass(240_000);
  assert.equal((await heard(other, 'high')).length, trial);
  // In a pause it is not heard, and the pause goes on.
  await page.key('m');
  remind(over);
  await page.pass(10_000);
  assert.equal((await heard(other, 'high')).length, trial + 1);
  assert.deepEqual((await heard(page, 'high')).slice(before), times);
  assert.equal(await page.attribute('.topbar', 'data-sound'), 'paused');
});

test('9. pause is timed: two minutes at most, and a new high ends it', async () => {
  const page = await withSound();
  const { county } = it;
  county.raise(county.monitor, 'high');
  await page.pass(11_000);
  await page.key('m');
  await page.says('.sound', '声音暂停 2:00');
  const paused = county.ms;
  await page.pass(30_000);
  await page.says('.sound', '声音暂停 1:30');
  assert.equal(await page.attribute('.topbar', 'data-sound'), 'paused');
  county.raise(county.monitor, 'medium');
  await page.pass(5_000);
  assert.equal(await page.attribute('.topbar', 'data-sound'), 'paused');
  assert.deepEqual((await heard(page, 'high')).filter((at) => at > paused), []);
  county.raise(county.monitor, 'high');
  await page.shows('[data-sound="on"]');
  assert.deepEqual((await heard(page, 'high')).filter((at) => at > paused), [county.ms]);
  // And by itself after two minutes.
  await page.key('m');
  await page.shows('[data-sound="paused"]');
  const again = county.ms + 120_000;
  await page.pass(131_000);
  await page.shows('[data-sound="on"]');
  const [first] = (await heard(page, 'high')).filter((at) => at > county.ms - 131_000);
  assert.ok(first >= again && first <= again + 10_000, `${first - again} ms after the pause`);
});

test('9. what the computer took away is heard again when somebody presses, and goes on', async () => {
  const page = await withSound();
  const { county } = it;
  county.raise(county.monitor, 'high');
  await page.run(() => window.__test.contexts[0].suspend());
  await page.shows('[data-sound="blocked"]');
  await page.pass(20_000);
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  const back = county.ms;
  await page.pass(25_000);
  const times = (await heard(page, 'high')).filter((at) => at > back);
  assert.ok(times.length >= 2 && times[0] <= back + 10_000, String(times.map((at) => at - back)));
});

test('7. audio that says it runs and stands still is not called on', async () => {
  const page = await withSound();
  const sound = async (state) => {
    await page.pass(1_000);
    return await page.attribute('.topbar', 'data-sound') === state;
  };
  await page.run(() => {
    const [context] = window.__test.contexts;
    Object.defineProperty(context, 'currentTime', { configurable: true, value: context.currentTime });
  });
  await page.wait('it is said', () => sound('blocked'));
  await page.says('.sound-gate', '点击恢复并试听');
  await page.run(() => delete window.__test.contexts[0].currentTime);
  await page.wait('it goes on', () => sound('on'));
});

test('7. who presses for audio that stood still hears the trial at once', async () => {
  const page = await withSound();
  await page.pass(10_000);
  await page.run(() => {
    const [context] = window.__test.contexts;
    Object.defineProperty(context, 'currentTime', { configurable: true, value: context.currentTime });
  });
  await page.wait('it is said', async () => {
    await page.pass(1_000);
    return await page.attribute('.topbar', 'data-sound') === 'blocked';
  });
  const pressed = it.county.ms;
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  for (const pattern of ['high', 'medium', 'low']) {
    const after = (await heard(page, pattern)).filter((at) => at >= pressed);
    assert.equal(after.length, 1, pattern);
  }
});

test('8. a tab that was hidden for long, whose timers wait, repeats when it hears of the county', async () => {
  const page = await withSound();
  const { county } = it;
  await page.run(() => {
    window.__clinicClock.setTimeout = () => 0;
  });
  county.raise(county.monitor, 'high');
  const raised = county.ms;
  await page.pass(60_000);
  const times = (await heard(page, 'high')).filter((at) => at > raised);
  assert.ok(times.length >= 4, String(times.map((at) => at - raised)));
});

test('15. connection lost: one sound at once and each minute', async () => {
  const page = await withSound();
  it.county.cut();
  const begun = it.county.ms;
  const before = (await heard(page, 'low')).length;
  await page.pass(150_000, { beats: false });
  const times = (await heard(page, 'low')).slice(before).map((at) => Math.round((at - begun) / 1000));
  assert.equal(times.length, 3, String(times));
  // It begins at the limit; the page looks once a second whether a minute is over.
  assert.equal(times[0], 20);
  assert.ok([times[1] - times[0], times[2] - times[1]].every((wait) => wait === 60 || wait === 61), String(times));
});

test('a lost connection sounds also in a tab that was hidden for long, whose nested timers wait', async () => {
  const page = await withSound();
  await page.run(() => {
    const clock = window.__clinicClock;
    const real = clock.setTimeout;
    clock.setTimeout = (run, ms) => (ms === 0 ? 0 : real(run, ms));
  });
  it.county.cut();
  const before = (await heard(page, 'low')).length;
  await page.pass(25_000, { beats: false });
  assert.equal((await heard(page, 'low')).length, before + 1);
});

test('a system notification beside the sound: asked for by a click, without a name', async () => {
  const page = await withSound();
  const { county } = it;
  county.patients = [make.patient('p1', '张*', '3', county.monitor.clinic)];
  county.say('patients', {});
  await page.run(() => {
    window.told = [];
    window.Notification = class {
      static permission = 'default';

      static async requestPermission() {
        window.Notification.permission = 'granted';
        return 'granted';
      }

      constructor(title, { body }) {
        window.told.push([title, body]);
      }

      close() {
        window.told.push(['closed', '']);
      }
    };
    document.hasFocus = () => false;
  });
  const told = () => page.run(() => window.told);
  county.raise(county.monitor, 'high', { patient: 'p1' });
  await page.pass(1_000);
  assert.deepEqual(await told(), [], 'nobody asked for it');
  await page.click('.sound');
  await page.click('.notice-button');
  await page.says('.notice-button', '系统通知:开启');
  county.raise(county.monitor, 'medium', { patient: 'p1' });
  await page.pass(1_000);
  assert.deepEqual(await told(), [['中优先级预警', '血氧过低 · 和平镇卫生院']]);
  county.raise(county.monitor, 'low', { patient: 'p1' });
  county.raise(county.monitor, 'high', { retro: true, state: 'cleared_unack', condition: 'cleared_unack' });
  await page.pass(60_000);
  assert.equal((await told()).length, 1, 'low, late and old ones are none');
  for (const one of county.alerts.values()) {
    county.change(one.id, { state: 'closed', condition: 'closed' });
  }
  await page.pass(1_000);
  assert.deepEqual((await told()).slice(1), [['closed', '']]);
});

test('a phone shakes also where the system has taken its sound away, and not in a pause', async () => {
  const page = await withSound();
  const { county } = it;
  const shaken = () => page.run(() => window.__test.shaken.length);
  await page.run(() => window.__test.contexts[0].suspend());
  await page.shows('[data-sound="blocked"]');
  county.raise(county.monitor, 'medium');
  await page.pass(1_000);
  assert.equal(await shaken(), 1);
  await page.run(() => window.__test.contexts[0].resume());
  await page.shows('[data-sound="on"]');
  await page.key('m');
  await page.pass(60_000);
  assert.equal(await shaken(), 1);
});

test('a session that ends makes the desk mute: a red bar says so, and a sound each minute until somebody logs in', async () => {
  const { county } = it;
  const page = await withSound();
  await page.pass(2_000);
  county.sessions.clear();
  await page.pass(61_000);
  await page.says('.mute-banner', '登录已被结束。本屏不再显示预警,也不再发声');
  const told = async () => (await heard(page, 'low')).length - 1;
  const first = await told();
  assert.ok(first >= 1, String(first));
  await page.pass(120_000);
  assert.equal(await told(), first + 2);
  await page.click('#name');
  await page.type('li');
  await page.click('#password');
  await page.type('right');
  await page.key('Enter');
  await page.shows('[data-knowledge="known"]');
  await page.hides('.mute-banner');
  // The sound is on as it was, and nothing says any more that it is mute.
  await page.shows('[data-sound="on"]');
  const after = await told();
  await page.pass(65_000);
  assert.equal(await told(), after);
  // Who leaves by themselves knows it.
  await page.click('.tools button:last-child');
  await page.shows('.login');
  await page.hides('.mute-banner');
});
