// Fingers (nurse board, chapter 8): on a phone of 360 px everything that one presses is 44 px high.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as make from './fixtures.mjs';
import { morning } from './office.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const LEAST_PX = 44;
const PHONE = { size: [360, 740], mobile: true };

/** In the page: what one can press and is too low or too narrow for a finger. */
function small(least) {
  const all = [...document.querySelectorAll('a[href], button, input, select, summary, textarea, [role="button"]')];
  const seen = all.filter((one) => one.getClientRects().length && getComputedStyle(one).visibility === 'visible');
  return {
    seen: seen.length,
    // Nothing but its triangle says that it can be opened.
    plain: seen.filter((one) => one.tagName === 'SUMMARY' && getComputedStyle(one).display !== 'list-item')
      .map((one) => one.innerText),
    small: seen.map((one) => {
      // A box to tick is pressed on its words too.
      const pressed = ['checkbox', 'radio'].includes(one.type) ? one.closest('label') ?? one : one;
      const { width, height } = pressed.getBoundingClientRect();
      return {
        what: `${one.tagName}.${one.className} ${(one.innerText || one.id).slice(0, 20)}`,
        width: Math.round(width * 10) / 10,
        height: Math.round(height * 10) / 10,
      };
    }).filter(({ width, height }) => Math.min(width, height) < least),
  };
}

async function looked(page, where, least = 3) {
  const { seen, plain, small: found } = await page.run(small, LEAST_PX);
  assert.ok(seen >= least, `only ${seen} things to press: ${where}`);
  assert.deepEqual(found, [], where);
  assert.deepEqual(plain, [], `no triangle: ${where}`);
}

test('on a phone everything one presses is large enough: alerts, tiles, top, log-in', async () => {
  const { county } = it;
  morning(county, 'doctor');
  const [first] = county.patients;
  for (let n = 2; n < 8; n += 1) county.devices.push(make.device(make.HEPING, `heping-monitor-0${n}`, 'monitor', county.ms));
  const stranger = await it.open({ user: null, ...PHONE });
  await stranger.shows('#password');
  await looked(stranger, 'log-in');
  const page = await it.open(PHONE);
  const alert = county.raise(county.monitor, 'high', { patient: first.patient, metric: 'glucose' });
  county.raise(county.monitor, 'low', {
    state: 'active_ack', acknowledged_by: 'wang', acknowledged_at: make.at(county.ms), reason: 'at_bedside',
  });
  const row = rowOf(alert);
  await page.click(`${row} .more`);
  await page.shows('.strip-wanted');
  await looked(page, 'board', 20);
  await page.click(`${row} .not-this`);
  await looked(page, 'not this', 20);
  for (const deed of ['assign', 'escalate', 'note', 'out-of-service']) {
    await page.run((css) => document.querySelector(css).click(), `${row} [data-do="${deed}"]`);
    await page.shows(`${row} form[data-deed="${deed}"]`);
    await looked(page, deed, 20);
    await page.key('Escape');
  }
  await page.click(`${row} .ack`);
  await looked(page, 'acknowledge', 20);
  await page.key('Escape');
  for (const panel of ['.townships', 'button.user', '.sound']) {
    await page.run((css) => document.querySelector(css).click(), panel);
    await looked(page, panel, 20);
  }
});

test('on a phone everything one presses is large enough: the drawer and a frozen strip', async () => {
  const { county } = it;
  const { first, cuff } = morning(county, 'doctor');
  const page = await it.open(PHONE);
  county.bind(cuff, first.patient);
  county.limits = [{
    id: 1, rule: 'HR-AD-H', off: false, value: '130', applies: true, until: make.at(county.ms + 3_600_000),
    reason: 'sport', made_by: 'zhao', made_at: make.at(county.ms),
  }];
  county.results = [{
    readings: [make.reading(cuff, 'glucose', '5.4', county.ms, { patient: first.patient, bound_patient: first.patient })],
    moves: [],
  }];
  const alert = county.raise(county.monitor, 'high', { patient: first.patient });
  county.blocks = [make.block(county.monitor, Array.from({ length: 250 }, () => 0), county.ms)];
  await page.run((key) => {
    window.location.hash = `#bed=${key}`;
  }, first.patient);
  await page.shows('.drawer .result');
  await page.run(() => document.querySelectorAll('.drawer summary').forEach((one) => one.click()));
  await page.shows('.limit-form');
  await page.run((id) => document.querySelector(`.drawer [data-alert-id="${id}"] > button`).click(), alert.id);
  await page.says('.strip-review .strip-scale', 'mm/s');
  await page.run(() => document.querySelectorAll('.drawer .not-this, .drawer .bind').forEach((one) => one.click()));
  await looked(page, 'drawer', 25);
});

for (const role of ['doctor', 'system_admin', 'security_admin', 'audit_admin']) {
  test(`on a phone everything one presses is large enough: the pages of a ${role}`, async () => {
    const { county } = it;
    morning(county, role);
    const page = await it.open({ ...PHONE, known: role === 'doctor' });
    await page.shows('.pages-nav a');
    const pages = await page.run(() => [...document.querySelectorAll('.pages-nav a')].map(({ dataset }) => dataset.page));
    for (const name of pages.filter((one) => one !== 'board')) {
      await page.run((key) => {
        window.location.hash = key;
      }, name);
      await page.shows(`.page[data-page="${name}"] .page-body > *`);
      await page.run(() => document.querySelectorAll('.page summary').forEach((one) => one.click()));
      await looked(page, name);
    }
  });
}

test('on a phone the names of the pages stand beside each other and not upon each other', async () => {
  morning(it.county, 'doctor');
  const page = await it.open(PHONE);
  const links = await page.run(() => [...document.querySelectorAll('.pages-nav a')]
    .map((one) => [one.textContent, one.scrollWidth - one.clientWidth]));
  assert.ok(links.length > 5);
  assert.deepEqual(links.filter(([, beyond]) => beyond > 0), []);
});
