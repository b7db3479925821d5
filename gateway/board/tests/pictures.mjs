// Pictures of every page, to be looked at: `node gateway/board/tests/pictures.mjs DIR [PART]`.
//
// In both languages, night and day, on a desktop and on a phone of 360 px; paper; the alert list in
// greys; text of twice the size. With PART only those whose name has it.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Chromium } from './browser/chromium.mjs';
import { County } from './browser/county.mjs';
import { Page } from './browser/page.mjs';
import { Night } from './night.mjs';

const [, , folder, part = ''] = process.argv;
if (!folder) throw new Error('say into which folder the pictures go');
mkdirSync(folder, { recursive: true });

const DESKTOP = { size: [1366, 768] };
const PHONE = { size: [360, 740], mobile: true };
/** What is longer than a window is also looked at in one that holds it. */
const LONG = /(?<!-large-phone|-paper)-(?:board|drawer|back-open|followup|handover|devices|duty|figures|rules|people|upkeep|engineer|kiosk|own)$/;
const LONGEST_PX = 4_000;
/** A4 at 96 px an inch. */
const PAPER = [794, 1123];

const turn = (name) => async (page) => {
  await page.run((hash) => {
    window.location.hash = hash;
  }, name);
  if (name) await page.until('the page is read', (key) => /\d/.test(
    document.querySelector(`.page[data-page="${key}"] .as-of`)?.textContent ?? '',
  ), name);
};

const openBed = async (page, night) => {
  night.day();
  await page.run((key) => {
    window.location.hash = `#bed=${key}`;
  }, night.zhang.patient);
  await page.shows('.drawer');
  await night.pass(page, 4);
  await page.caughtUp();
};

const scroll = (css, to) => (page) => page.run((one, y) => {
  const element = document.querySelector(one);
  if (element.scrollHeight > element.clientHeight) element.scrollTo(0, y);
  else window.scrollTo(0, y);
}, css, to);

/** The strip of the drawer stands still. */
const freeze = async (page, night) => {
  await scroll('.drawer', 0)(page);
  await night.pass(page, 4);
  await page.click('.drawer .freeze');
  await page.shows('.strip-review .strip-scale');
  await page.run(() => document.querySelector('.strip-review').scrollIntoView({ block: 'center' }));
};

/** That strip on A4: what the window that prints holds, in the place of the page. */
const printed = async (page, night) => {
  await openBed(page, night);
  await freeze(page, night);
  const paper = await page.paper();
  await page.run(() => [...document.querySelectorAll('.strip-review button')]
    .find((button) => button.textContent.includes('A4')).click());
  await paper('it is printed', (sheet) => sheet.body.dataset.printed === 'true');
  await page.media([], 'print');
  await page.run(() => {
    const { style } = document.querySelector('#paper');
    Object.assign(style, {
      position: 'fixed', left: 0, top: 0, width: '100vw', height: '100vh', border: 0, zIndex: 9, background: '#FFF',
    });
  });
};

/** What a nurse sees, in the order in which she gets there: a name, and what is done for it. */
const NURSE = [
  ['board', async (page, night) => night.pass(page, 6)],
  ['reason', async (page) => {
    await page.key('j');
    await page.key('a');
  }],
  ['detail', async (page) => {
    await page.key('Escape');
    await page.key('Enter');
  }],
  ['help', async (page) => page.key('?')],
  ['drawer', async (page, night) => {
    await page.key('Escape');
    await openBed(page, night);
  }],
  ['strip', freeze],
  ['drawer-below', scroll('.drawer', 700)],
  ['drawer-end', scroll('.drawer', 5000)],
  ['limits', async (page) => {
    await page.run(() => {
      document.querySelector('.drawer-limits details').open = true;
      document.querySelector('.drawer-limits').scrollIntoView({ block: 'start' });
    });
  }],
  ...['tray', 'followup', 'handover', 'devices', 'duty', 'figures', 'rules']
    .map((name) => [name, turn(name)]),
  ['rules-drugs', async (page) => page.run(() => [...document.querySelectorAll('.page code')]
    .find((one) => one.textContent === 'PUMP-NEAR-END').scrollIntoView({ block: 'center' }))],
  ['own', async (page) => {
    await turn('')(page);
    await page.click('button.user');
    await page.run(() => window.scrollTo(0, 0));
  }],
  ['lost', async (page, night) => {
    await page.click('button.user');
    night.county.cut();
    await page.pass(25_000, { beats: false });
  }],
  ['back', async (page, night) => {
    night.meanwhile();
    night.county.mend();
    const told = () => page.run(() => Boolean(window.__test.seen('.back-banner button[aria-expanded]')));
    for (let tries = 0; tries < 12 && !await told(); tries += 1) await page.pass(5_000);
    await page.shows('.back-banner button[aria-expanded]');
    await page.run(() => window.scrollTo(0, 0));
  }],
  ['back-open', async (page) => page.click('.back-banner button[aria-expanded]')],
];
const OFFICE = {
  system_admin: ['people', 'devices', 'upkeep'], security_admin: ['people'], audit_admin: ['audit', 'people'],
};

const browser = Chromium.start();
const county = await County.start();

async function look(page, night, name, { size, mobile }) {
  if (!name.includes(part)) return;
  await page.picture(null, join(folder, `${name}.png`));
  process.stdout.write(`${name}\n`);
  const more = LONG.test(name) && await page.run(beyond);
  if (!more) return;
  await page.size(size[0], size[1] + Math.min(more, LONGEST_PX), mobile);
  // Strips that were out of sight are drawn now.
  if (/board$/.test(name)) await night.pass(page, 4);
  // The first is drawn in part only where the window grew.
  await page.picture();
  await page.picture(null, join(folder, `${name}-whole.png`));
  await page.size(...size, mobile);
  process.stdout.write(`${name}-whole\n`);
}

/** In the page: how much of what it holds is out of sight below. */
function beyond() {
  const all = [document.documentElement, ...document.querySelectorAll('.alert-list, .grid, .page-main, .drawer')];
  return Math.max(...all.map((one) => one.scrollHeight - one.clientHeight));
}

/** Opens a page, makes its pictures, closes it. */
async function visit(prefix, options, role, scenes) {
  if (!scenes.some(([name]) => `${prefix}-${name}`.includes(part))) return;
  county.mend();
  county.clear();
  const night = role && new Night(county, role);
  const page = await Page.open(browser, county, options);
  if (await page.run(() => Boolean(window.__test.seen('.sound-gate')))) await page.click('.sound-gate');
  for (const [name, prepare] of scenes) {
    await prepare(page, night);
    await look(page, night, `${prefix}-${name}`, options);
  }
  county.mend();
  await page.close();
}

const here = async () => {};
for (const language of ['zh-CN', 'en']) {
  for (const theme of ['night', 'day']) {
    for (const [kind, shape] of [['desktop', DESKTOP], ['phone', PHONE]]) {
      const prefix = `${language}-${theme}-${kind}`;
      const options = { ...shape, theme, language };
      await visit(prefix, options, 'nurse', NURSE);
      await visit(prefix, { ...options, known: false }, 'kiosk', [['kiosk', async (page, night) => {
        await page.shows('[data-knowledge="known"]');
        await night.pass(page, 3);
      }]]);
      await visit(prefix, options, 'doctor', [['rules-doctor', turn('rules')], ['duty-doctor', turn('duty')]]);
      await visit(prefix, options, 'engineer', [
        ['engineer', async (page, night) => night.pass(page, 3)],
        ...['devices', 'rules'].map((name) => [`engineer-${name}`, turn(name)]),
      ]);
      for (const [role, pages] of Object.entries(OFFICE)) {
        await visit(prefix, { ...options, known: false }, role,
          pages.map((name) => [`${role}-${name}`, turn(name)]));
      }
      await visit(prefix, { ...options, user: null }, null, [['login', (page) => page.shows('.login')]]);
      await visit(prefix, options, null, [['empty', here]]);
    }
    for (const role of ['nurse']) {
      await visit(`${language}-${theme}-grey`, { ...DESKTOP, theme, language }, role, [['board', async (page, night) => {
        await page.vision('achromatopsia');
        await night.pass(page, 3);
      }]]);
    }
  }
  await visit(`${language}-large-phone`, { ...PHONE, language, theme: 'day' }, 'nurse', [
    ['board', async (page, night) => {
      await page.run(() => {
        document.documentElement.style.fontSize = '200%';
      });
      await night.pass(page, 3);
    }],
    ['drawer', openBed],
    ...['tray', 'handover', 'devices'].map((name) => [name, turn(name)]),
  ]);
  await visit(`${language}-paper`, { size: PAPER, language }, 'nurse', [
    ['handover', async (page) => {
      await turn('handover')(page);
      await page.media([], 'print');
    }],
    ['followup', turn('followup')],
    ['figures', turn('figures')],
  ]);
  await visit(`${language}-paper`, { size: [PAPER[1], PAPER[0]], language }, 'nurse', [['strip', printed]]);
}
await browser.close();
await county.close();
if (county.faults.length) {
  process.stderr.write(`${county.faults.join('\n')}\n`);
  process.exitCode = 1;
}
