// The board at a real county of two hundred beds that say three numbers a second each: how long a
// device's alarm takes to its row, and what goes over the wire.
//
//     node gateway/board/tests/bench/live.mjs PROGRAMS [ALARMS] [SLOWED] [SECONDS]
//
// `PROGRAMS` is the folder of `clinic-gateway` and `clinic-agent` (`target/release`); mosquitto and
// Chromium are on this machine. An alarm begins with the word of a monitor to its box: what box and
// broker take is in the figure. It ends when the frame with the row has been painted.

import { loadavg } from 'node:os';
import { Chromium } from '../browser/chromium.mjs';
import { openBoard, press, spread } from './board.mjs';
import { RealCounty, waits } from './county.mjs';
import { until } from './ward.mjs';

const programs = process.argv[2];
const [alarms = 50, slowed = 4, seconds = 60] = process.argv.slice(3).map(Number);
if (!programs) throw new Error('PROGRAMS is missing');
const QUIET_MS = 500;

function tell(figure) {
  const load = Number(loadavg()[0].toFixed(1));
  process.stdout.write(`${JSON.stringify({ ...figure, slowed, load })}\n`);
}

/** Follows the stream beside the page: what it says, when, and how long it is. */
function follow(county) {
  const heard = { bytes: 0, names: {}, readings: 0, alerts: new Map() };
  const stop = new AbortController();
  const take = (event, at) => {
    const name = /^event: (.*)$/m.exec(event)?.[1];
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (!name || !data) return;
    const of = heard.names[name] ??= { events: 0, bytes: 0 };
    of.events += 1;
    of.bytes += Buffer.byteLength(event) + 2;
    if (name === 'reading') heard.readings += JSON.parse(data).readings.length;
    if (name !== 'alert') return;
    const { site, device, state } = JSON.parse(data);
    const key = `${site}:${device}`;
    if (state === 'active_unack' && !heard.alerts.has(key)) heard.alerts.set(key, at);
  };
  heard.stop = () => stop.abort();
  heard.ended = (async () => {
    const answer = await fetch(`${county.url}api/v1/events`, {
      headers: { Cookie: `clinic_session=${county.session}` }, signal: stop.signal,
    });
    let rest = '';
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const at = Date.now();
      const events = (rest + part).split('\n\n');
      rest = events.pop();
      for (const event of events) take(event, at);
    }
  })().catch((error) => {
    if (error.name !== 'AbortError') throw error;
  });
  return heard;
}

/** In the page: when the frame with the first row of that device was painted, by the wall clock. */
function rowOf(site, device) {
  const painted = (done) => requestAnimationFrame(() => setTimeout(() => done(Date.now()), 0));
  return new Promise((done) => {
    const css = `.alerts [data-alert-id][data-state="active_unack"][data-device="${device}"]`;
    const look = () => {
      const row = [...document.querySelectorAll(css)]
        .find((one) => one.querySelector('.where').textContent.includes(site));
      if (!row) return false;
      const { top, bottom } = row.getBoundingClientRect();
      if (bottom < 0 || top > window.innerHeight) throw new Error('the row is out of sight');
      painted((at) => done({ at, id: row.dataset.alertId }));
      return true;
    };
    if (look()) return;
    const watching = new MutationObserver(() => {
      if (look()) watching.disconnect();
    });
    watching.observe(document.querySelector('.alerts'), {
      childList: true, subtree: true, attributes: true,
    });
  });
}

async function alarm(page, county, heard, number) {
  const monitor = county.monitors[(number * 37) % county.monitors.length];
  const { site, id } = monitor;
  const row = page.run(rowOf, `${site} `, id);
  await until(Date.now() + Math.random() * 1000);
  const said = Date.now();
  monitor.alarm('start');
  const seen = await row;
  const told = await waits('the stream tells it', () => heard.alerts.get(`${site}:${id}`));
  // The next one is to be the first that nobody has in hand.
  await county.ask('POST', `alerts/${seen.id}/acknowledge`, { reason: 'at_bedside' });
  monitor.alarm('end');
  return { row: seen.at - said, told: told - said };
}

/** What the page fetched and what it was told, in bytes as they came. */
function wire(page) {
  const sums = { stream: 0, other: 0 };
  const streams = new Set();
  const { told } = page;
  page.told = (method, params) => {
    if (method === 'Network.responseReceived' && params.type === 'EventSource') {
      streams.add(params.requestId);
    }
    if (method === 'Network.dataReceived') {
      const bytes = params.encodedDataLength || params.dataLength;
      sums[streams.has(params.requestId) ? 'stream' : 'other'] += bytes;
    }
    told.call(page, method, params);
  };
  return sums;
}

async function measure(browser, county) {
  const page = await openBoard(browser, county.url, county.session);
  const sums = wire(page);
  await page.send('Network.enable');
  await page.send('Page.reload');
  await until(Date.now() + 5_000);
  await press(page, '.sound-gate');
  await page.send('Emulation.setCPUThrottlingRate', { rate: slowed });
  const heard = follow(county);
  await until(Date.now() + 5_000);

  const { readings: readingsBefore } = heard;
  const before = { ...sums, cpuS: county.cpuS(), names: structuredClone(heard.names) };
  await until(Date.now() + seconds * 1000);
  const minute = (number) => Math.round((number * 60) / seconds);
  const readings = heard.readings - readingsBefore;
  const of = (name) => heard.names[name] ?? { events: 0, bytes: 0 };
  const was = (name) => before.names[name] ?? { events: 0, bytes: 0 };
  tell({
    figure: 'wire',
    seconds,
    stream_bytes_per_min: minute(sums.stream - before.stream),
    other_bytes_per_min: minute(sums.other - before.other),
    readings_per_s: Math.round(readings / seconds),
    reading_events_per_s: Math.round((of('reading').events - was('reading').events) / seconds),
    bytes_per_reading: Math.round((of('reading').bytes - was('reading').bytes) / readings),
    events: Object.fromEntries(Object.keys(heard.names)
      .map((name) => [name, of(name).events - was(name).events])),
    gateway_cpu_s: Number((county.cpuS() - before.cpuS).toFixed(1)),
  });

  const times = [];
  for (let number = 0; number < alarms; number += 1) {
    times.push(await alarm(page, county, heard, number));
    await until(Date.now() + QUIET_MS);
  }
  tell({
    figure: 'alarm_to_row',
    row_ms: spread(times.map(({ row }) => row)),
    stream_ms: spread(times.map(({ told }) => told)),
    page_ms: spread(times.map(({ row, told }) => row - told)),
  });
  heard.stop();
  await heard.ended;
  if (page.faults.length) throw new Error(page.faults.join('\n'));
}

const county = await RealCounty.start(programs);
const browser = Chromium.start();
try {
  const speaking = county.speak();
  await measure(browser, county);
  county.going = false;
  await speaking;
} finally {
  await browser.close();
  await county.close();
}
