// A device that somebody took off: it says so, and is put back where it stands.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import * as make from './fixtures.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const ZHANG = `p-${String(1).padStart(32, '0')}`;
const tile = '.tile[data-bed="10"]';
const line = `${tile} .device-line[data-device="heping-spo2-01"]`;
const health = '.drawer .health [data-device="heping-spo2-01"]';

/** The oximeter of a patient is off; their monitor is not. */
function bed() {
  const { county } = it;
  county.oximeter = make.device(make.HEPING, 'heping-spo2-01', 'oximeter', county.ms);
  county.devices.push(county.oximeter);
  county.patients = [make.patient(ZHANG, '张**', '10', make.HEPING.clinic)];
  for (const device of [county.monitor, county.oximeter]) county.bind(device, ZHANG);
  county.oximeter.out_of_service = {
    by: 'zhao', at: make.at(county.ms - 3_600_000), reason: '送修', until: null,
  };
  return county;
}

/** What the county answers and tells the boards of a device that changed. */
function changed({
  latest, last_observed: seen, actions, lost_24h: lost, ...device
}, out) {
  return { ...device, out_of_service: out };
}

test('a device that is off says who took it off, and is put back in the drawer', async () => {
  const county = bed();
  const path = `/devices/${county.oximeter.site}/${county.oximeter.device}/out-of-service`;
  county.took[`DELETE ${path}`] = () => {
    // Nobody did anything for ten minutes.
    if (county.idle) return problem(403, 'Say that it is still you', { confirm: true });
    county.oximeter.out_of_service = null;
    return [200, changed(county.oximeter, null)];
  };
  county.idle = true;
  const page = await it.open();
  await page.says(line, '停用 · zhao');
  assert.ok(!(await page.text(`${tile} [data-device="heping-monitor-01"]`)).includes('停用'));
  await page.click(`${tile} .open`);
  await page.says(health, '停用 · zhao');
  await page.click(`${health} .put-back`);
  await page.shows(`${health} form input`);
  await page.click(`${health} form input`);
  await page.type(county.pin);
  await page.click(`${health} form .primary`);
  await page.hides(`${health} .put-back`);
  assert.ok(!(await page.text(health)).includes('停用'));
  assert.ok(!(await page.text(line)).includes('停用'));
});

test('a board hears that another took a device off and put it back', async () => {
  const county = bed();
  const { out_of_service: out } = county.oximeter;
  county.oximeter.out_of_service = null;
  const page = await it.open();
  await page.shows(line);
  assert.ok(!(await page.text(line)).includes('停用'));
  const say = async (taken) => {
    county.oximeter.out_of_service = taken;
    county.say('device', changed(county.oximeter, taken));
    await page.pass(1_000);
  };
  await say(out);
  await page.says(line, '停用 · zhao');
  await say({ ...out, until: make.at(county.ms + 60_000) });
  // It is back by itself.
  await page.pass(61_000);
  await page.until('it is in service', (css) => (
    !document.querySelector(css).textContent.includes('停用')), line);
});

test('what is over offers nothing that the county refuses, and the form names the device', async () => {
  const { county } = it;
  const alert = county.raise(county.oximeter, 'high');
  const page = await it.open();
  const row = rowOf(alert);
  await page.click(`${row} .more`);
  await page.click(`${row} [data-do="out-of-service"]`);
  await page.says(`${row} .what`, 'dongfeng-spo2-01');
  county.change(alert.id, { state: 'closed', condition: 'closed', cleared_at: make.at(county.ms) });
  await page.click('[data-section="over"] button');
  await page.shows(row);
  await page.says(row, '已结束');
  const offered = await page.run((css) => [...document.querySelectorAll(css)]
    .map((button) => button.dataset.do), `${row} [data-do]`);
  assert.deepEqual(offered, []);
});
