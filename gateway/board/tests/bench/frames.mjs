// Frames of the board at two hundred beds, one update a second each, on a processor slowed down:
// the list is scrolled and a strip sweeps.
//
//     node gateway/board/tests/bench/frames.mjs [SECONDS] [SLOWED] [PROFILE]
//
// A line of JSON each for the beds alone and for a bed that is open, and before and after them for a
// page of nothing but height beside the same ward, which tells what the machine itself drops: time
// between frames of the page, between drawings of the strip, tasks longer than 50 ms, the page's CPU.
// `PROFILE` is a file that takes what the part of the open bed spent its time on (Chromium's
// `.cpuprofile`).

import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { Chromium } from '../browser/chromium.mjs';
import { Page } from '../browser/page.mjs';
import {
  happens, openBoard, press, spread,
} from './board.mjs';
import { Ward, until } from './ward.mjs';

const [seconds = 30, slowed = 4] = process.argv.slice(2, 4).map(Number);
const profile = process.argv[4];
const DROPPED_MS = 50;
const WHEEL_MS = 50;
const WHEEL_PX = 90;

const browser = Chromium.start();
const ward = await Ward.start();
const { county } = ward;
let going = true;

/** In the page: writes down when each frame and each drawing of the strip was. */
function watch() {
  const seen = { frames: [], strips: [], tasks: [] };
  const frame = (at) => {
    if (window.__frames !== seen) return;
    seen.frames.push(at);
    requestAnimationFrame(frame);
  };
  window.__frames = seen;
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) seen.tasks.push(entry.duration);
  }).observe({ type: 'longtask' });
  if (window.__watched) return;
  window.__watched = true;
  const { clearRect } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.clearRect = function cleared(...box) {
    if (this.canvas.closest('.strip')) window.__frames.strips.push(performance.now());
    return clearRect.apply(this, box);
  };
}

/** What all beds say, at the pace of their clocks. */
async function speak() {
  for (let beat = 0; going; beat += 1) {
    if (beat % 10 === 0) ward.raise();
    if (beat % 5 === 0) county.beat();
    ward.wave(0);
    await ward.speak(1000);
  }
}

/** The wheel over the list: down, and up again. */
async function scroll(page, end) {
  for (let turn = 0; Date.now() < end; turn += 1) {
    const next = Date.now() + WHEEL_MS;
    const deltaY = turn % 80 < 40 ? WHEEL_PX : -WHEEL_PX;
    await page.send('Input.dispatchMouseEvent', {
      type: 'mouseWheel', x: 300, y: 500, deltaX: 0, deltaY,
    });
    await until(next);
  }
}

const apart = (times) => times.slice(1).map((at, index) => at - times[index]);

async function cpu(page) {
  const { metrics } = await page.send('Performance.getMetrics');
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

async function measure(page, what) {
  await page.run(watch);
  const before = await cpu(page);
  const readings = ward.spoken;
  await scroll(page, Date.now() + seconds * 1000);
  const { frames, strips, tasks } = await page.run(() => {
    const seen = window.__frames;
    window.__frames = { strips: [] };
    return seen;
  });
  const after = await cpu(page);
  const took = (name) => Number((after[name] - before[name]).toFixed(2));
  const times = apart(frames);
  process.stdout.write(`${JSON.stringify({
    figure: 'frames',
    what,
    seconds,
    slowed,
    readings_per_s: Math.round((ward.spoken - readings) / seconds),
    frame_ms: spread(times),
    // Three of sixty a second are 50.0 ms, give or take a tenth.
    frames_over_50_ms: times.filter((ms) => Math.round(ms) > DROPPED_MS).length,
    strip_ms: strips.length > 1 ? spread(apart(strips)) : null,
    tasks_over_50_ms: tasks.length ? spread(tasks) : 0,
    cpu_s: Object.fromEntries(
      ['TaskDuration', 'ScriptDuration', 'LayoutDuration', 'RecalcStyleDuration']
        .map((name) => [name, took(name)]),
    ),
    load: Number(loadavg()[0].toFixed(1)),
  })}\n`);
}

/** A page that costs nothing, while no board is open. */
async function nothing() {
  const page = new Page(browser, null);
  page.target = await browser.page((method, params) => page.told(method, params));
  for (const domain of ['Page', 'Runtime']) await page.send(`${domain}.enable`);
  await page.size(1400, 900);
  await page.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.send('Emulation.setCPUThrottlingRate', { rate: slowed });
  await page.run(() => {
    document.body.style.height = '10000px';
  });
  await measure(page, 'nothing');
  await browser.send('Target.closeTarget', { targetId: page.target.targetId });
}

const speaking = speak();
await nothing();
const page = await openBoard(browser, county.url, county.session('li'));
await page.send('Performance.disable');
await page.send('Performance.enable', { timeDomain: 'threadTicks' });
await press(page, '.sound-gate');
for (let alert = 0; alert < 30; alert += 1) {
  ward.second += 1;
  ward.raise();
}
await page.send('Emulation.setCPUThrottlingRate', { rate: slowed });
await until(Date.now() + 5_000);
await measure(page, 'beds');
if (profile) await page.send('Profiler.enable');
await page.run((to) => {
  window.location.hash = to;
}, `bed=${county.patients[0].patient}`);
await happens(page, 'the strip lives', () => (
  document.querySelector('.drawer .strip[data-live="live"]') !== null));
await until(Date.now() + 5_000);
if (profile) await page.send('Profiler.start');
await measure(page, 'beds and an open one');
if (profile) {
  const { profile: found } = await page.send('Profiler.stop');
  writeFileSync(profile, JSON.stringify(found));
}
if (process.env.PICTURE) await page.picture(null, process.env.PICTURE);
await browser.send('Target.closeTarget', { targetId: page.target.targetId });
await nothing();
going = false;
await speaking;
await browser.close();
await county.close();
