// Whether the page grows: two hundred beds at one update a second each, and a nurse who is busy.
//
//     node gateway/board/tests/bench/soak.mjs [MINUTES] [PACE] [LOOK_EVERY_S]
//
// Each second all beds speak, one strip sweeps, and every ten seconds an alert begins and one ends;
// each minute a nurse opens a bed, a page and the board again, and people change (all is fetched).
// `PACE` makes all of that so many times as often. A line of JSON for each look, and a last one:
// growth is that of the least heap of the last quarter over the least of the first, the first look,
// at which the page has just begun, left out. It begins as after hours: with as many alerts that are
// over as a board keeps, which an alert every ten seconds fills in 83 minutes.

import { loadavg } from 'node:os';
import { Chromium } from '../browser/chromium.mjs';
import {
  brief, happens, held, openBoard, press,
} from './board.mjs';
import { Ward, until } from './ward.mjs';

const [minutes = 120, pace = 1, everyS = 300] = process.argv.slice(2).map(Number);
const PAGES = ['tray', 'handover', 'devices', 'followup', 'duty', 'figures', 'rules'];
const GROWTH_MAX = 0.2;
const SECOND_MS = 1000 / pace;
/** More alerts than a board keeps of those that are over. */
const ALERTS_BEFORE = 550;

const browser = Chromium.start();
const ward = await Ward.start();
const { county } = ward;
const page = await openBoard(browser, county.url, county.session('li'));
await press(page, '.sound-gate');
const began = Date.now();
const looks = [];
const stumbles = [];
let going = true;

function tell(figure) {
  process.stdout.write(`${JSON.stringify(figure)}\n`);
}

/** What the beds say. */
async function beds() {
  for (let beat = 0; going; beat += 1) {
    if (beat % 10 === 0) ward.raise();
    if (beat % 5 === 0) county.beat();
    if (beat % 60 === 59) county.say('patients', {});
    ward.wave(ward.open ?? 0);
    await ward.speak(SECOND_MS);
  }
}

async function look() {
  const seen = {
    minute: Number(((Date.now() - began) / 60_000).toFixed(1)), ...await held(page),
    readings: ward.spoken, load: Number(loadavg()[0].toFixed(1)),
  };
  looks.push(seen);
  tell(seen);
}

async function wait(seconds) {
  const end = Math.min(Date.now() + seconds * SECOND_MS, began + minutes * 60_000);
  while (Date.now() < end) {
    await new Promise((done) => {
      setTimeout(done, Math.min(end - Date.now(), 1000));
    });
    if (Date.now() >= began + looks.length * everyS * 1000) await look();
  }
}

async function turn(hash) {
  await page.run((to) => {
    window.location.hash = to;
  }, hash);
}

/** What a nurse does in a minute. */
async function nurse(minute) {
  ward.open = (minute * 13) % ward.monitors.length;
  await turn(`bed=${county.patients[ward.open].patient}`);
  await happens(page, 'the strip lives', () => (
    document.querySelector('.drawer .strip[data-live="live"]') !== null));
  await wait(30);
  await turn(PAGES[minute % PAGES.length]);
  await wait(10);
  await turn('');
  await wait(20);
}

const least = (of) => Math.min(...of.map(({ heap_mib: heap }) => heap));

/** The hours before: alerts that began and ended. */
async function past() {
  for (let alert = 0; alert < ALERTS_BEFORE; alert += 1) {
    ward.second += 1;
    ward.raise();
    await until(Date.now() + 20);
  }
}

async function main() {
  await past();
  const speaking = beds();
  await look();
  for (let minute = 0; Date.now() < began + minutes * 60_000; minute += 1) {
    try {
      await nurse(minute);
    } catch (slow) {
      // The machine does other things too; the page goes on.
      stumbles.push(String(slow.message));
    }
  }
  await look();
  going = false;
  await speaking;
  const settled = looks.slice(1);
  const quarter = Math.max(1, Math.floor(settled.length / 4));
  const growth = least(settled.slice(-quarter)) / least(settled.slice(0, quarter)) - 1;
  tell({
    figure: 'soak', minutes, pace, readings: ward.spoken, growth: Number(growth.toFixed(3)), stumbles,
    faults: brief([...page.faults, ...county.faults]),
  });
  return growth < GROWTH_MAX && !page.faults.length && !county.faults.length;
}

const good = await main();
await browser.close();
await county.close();
process.exitCode = good ? 0 : 1;
