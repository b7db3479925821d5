// What the board says beside its numbers: meals, aims, what is active, what is not known, what is new.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import * as make from './fixtures.mjs';
import { morning } from './office.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const ZHANG = `p-${'1'.padStart(32, '0')}`;

/** A patient in bed 3 with a meter that measured after a meal. */
function fed(fields = {}) {
  const { county } = it;
  county.patients = [make.patient(ZHANG, '张*', '3', county.monitor.clinic, fields)];
  const meter = make.device(make.HEPING, 'heping-glu-01', 'glucose_meter', county.ms);
  county.devices.push(meter);
  county.bind(county.monitor, ZHANG);
  county.bind(meter, ZHANG);
  const reading = county.measure(meter, 'glucose', '17.2', { context: { meal: 'meal_post' }, lane: 'urgent' });
  county.results = [{ readings: [reading], moves: [] }];
  return { county, meter, reading };
}

test('when a glucose was taken stands in tile, alert row, results and tray', async () => {
  const { county, meter, reading } = fed();
  county.more['/tray'] = () => ({
    waiting: [{
      ...make.HEPING, device: meter.device, measured_time: reading.measured_time, readings: [reading], candidates: [],
    }],
    next_cursor: null,
  });
  const page = await it.open();
  const alert = county.raise(meter, 'high', { patient: ZHANG, metric: 'glucose' });
  const said = async (css, words) => {
    await page.says(css, words);
    // How long after it nobody has said.
    assert.ok(!(await page.text(css)).includes('2小时'), css);
  };
  await said('.tile[data-bed="3"] .cell[data-cell="glucose"] .label', '血糖 · 餐后');
  await said(`${rowOf(alert)} .metric`, '血糖 · 餐后');
  await page.click('.tile[data-bed="3"] .open');
  await said('.drawer .result-value', '17.2 mmol/L 餐后');
  await page.run(() => {
    window.location.hash = 'tray';
  });
  await said('.page[data-page="tray"] h3', '餐后');
});

test('what is doubtful about a result stands wherever it is printed', async () => {
  const { first } = morning(it.county);
  const { county } = it;
  const cuff = county.devices.find(({ kind }) => kind === 'cuff');
  county.bind(cuff, first.patient);
  const pressure = [['nibp_sys', '286'], ['nibp_dia', '112']].map(([metric, value], index) => (
    county.measure(cuff, metric, value, {
      group: 'g9', seq: 909, index, lane: 'urgent', time_suspect: true,
      validity: index ? 'valid' : 'questionable', context: { irregular_beats: '1', movement: '0' },
    })));
  county.results = [{ readings: pressure, moves: [] }];
  const lying = county.measure(county.monitor, 'temp', '36.1', { validity: 'invalid' });
  county.waiting[0].readings = [...pressure, lying];
  const followUp = county.more['/followup']();
  for (const visit of followUp.people[0].visits) visit.readings = pressure;
  county.more['/followup'] = () => followUp;
  const page = await it.open();
  const marks = '⚠ 数值可疑,请核对 · ⚠ 脉搏不齐';
  const alert = county.raise(cuff, 'high', { patient: first.patient, metric: 'nibp_sys' });
  const said = async (css, words) => {
    await page.says(css, words);
    assert.ok(!(await page.text(css)).includes('移动'), css);
  };
  await said('.tile[data-bed="1"] .cell[data-cell="nibp"]', marks);
  await said(`${rowOf(alert)} .value`, marks);
  await page.click('.tile[data-bed="1"] .open');
  await said('.drawer .result-value', `286/112 mmHg · ${marks} · ⚠ 时间存疑`);
  await said('.plot[data-metric="nibp"] .readout', marks);
  const isAt = (hash) => page.run((to) => {
    window.location.hash = to;
  }, hash);
  await isAt('tray');
  await said('.page[data-page="tray"] h3', `体温 无有效值 · ${marks}`);
  assert.ok(!(await page.text('.page[data-page="tray"] h3')).includes('36.1'));
  await isAt('followup');
  await said('.page[data-page="followup"] .visits', `286/112 mmHg · ${marks}`);
  await page.media([], 'print');
  await said('.page[data-page="followup"] .visits', `286/112 mmHg · ${marks}`);
});

test('an alert by the oximeter\'s pulse names what was measured (alert rules, chapter 9, test 17)', async () => {
  const page = await it.open();
  const alert = it.county.raise(it.county.monitor, 'high', { metric: 'pulse_oxim', value: '38' });
  await page.says(`${rowOf(alert)} .metric`, '脉率(血氧)');
});

for (const [groups, aims] of [[[], [10]], [['pregnant'], [7.8, 6.7]]]) {
  test(`the trend of glucose has its lines after meals, ${groups.join() || 'everybody'}`, async () => {
    fed({ groups });
    const page = await it.open();
    await page.click('.tile[data-bed="3"] .open');
    const plot = '.plot[data-metric="glucose"]';
    await page.says(`${plot} .plot-band`, '看板目标带 第 2 版,不是随访规则');
    // The words are there before the plot is laid out and drawn at its width.
    await page.until('it is drawn', (css) => document.querySelector(`${css} canvas`).style.width !== '', plot);
    // The axis goes from 0 to 30 on 124 px below a margin of 8: at each aim there is a line all along.
    const shares = await page.run((css, values) => {
      const canvas = document.querySelector(`${css} canvas`);
      const quiet = getComputedStyle(canvas).getPropertyValue('--quiet').trim()
        .match(/\w\w/g).map((one) => parseInt(one, 16));
      const context = canvas.getContext('2d');
      const { width } = canvas;
      return values.map((value) => {
        const y = Math.ceil(8 + (1 - value / 30) * 124);
        const { data } = context.getImageData(60, y, width - 160, 1);
        const near = (at) => quiet.every((one, part) => Math.abs(data[at * 4 + part] - one) < 60);
        return Array.from({ length: width - 160 }, (_, at) => near(at)).filter(Boolean).length / (width - 160);
      });
    }, plot, [...aims, 13.3]);
    const none = shares.pop();
    assert.ok(none < 0.1 && shares.every((share) => share > 0.8), `${shares}, where no aim is ${none}`);
  });
}

test('the counters: what is shelved and holds is active and says so, what is suppressed or over is not', async () => {
  const { county } = it;
  const page = await it.open();
  for (const state of ['active_unack', 'active_ack', 'shelved', 'suppressed', 'out_of_service', 'cleared_unack']) {
    county.raise(county.monitor, 'high', { state });
  }
  await page.says('.counters', '高 2/3 搁置1');
  await page.click('.counters');
  await page.says('.counts', '高优先级:未确认 2,持续中 3');
});

test('a high alert of a township that is not shown is said to who cannot see, and where it is', async () => {
  const { county } = it;
  const page = await it.open();
  await page.run(() => document.querySelector('[data-town="和平镇卫生院"] input').click());
  await page.hides('.tile[data-device="dongfeng-spo2-01"]');
  county.raise(county.oximeter, 'medium');
  const high = county.raise(county.oximeter, 'high');
  await page.says('.unseen[role="alert"]', '血氧过低');
  await page.says('.unseen[role="alert"]', '东风乡卫生院');
  await page.hides(rowOf(high));
  assert.equal(await page.text('.unseen[aria-live="polite"]'), '');
});

test('medium and low alerts are said politely, and interrupt nobody', async () => {
  const { county } = it;
  const page = await it.open();
  county.raise(county.monitor, 'medium', { metric: 'hr' });
  await page.says('.unseen[aria-live="polite"]', '中 心率过快');
  county.raise(county.monitor, 'low', { metric: 'rr' });
  await page.says('.unseen[aria-live="polite"]', '低 呼吸过慢');
  assert.equal(await page.text('.unseen[role="alert"]'), '');
});

test('the same words once more are said once more, and so is what begins anew', async () => {
  const page = await it.open();
  const { county } = it;
  await page.run(() => {
    window.said = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const { textContent } of addedNodes) window.said.push(textContent);
      }
    }).observe(document.querySelector('.unseen[role="alert"]'), { childList: true });
  });
  const said = (count) => page.until('it is said', (n) => window.said.length === n, count);
  const first = county.raise(county.monitor, 'high');
  await said(1);
  county.change(first.id, { state: 'closed', condition: 'closed' });
  await page.pass(1_000);
  const second = county.raise(county.monitor, 'high');
  await said(2);
  county.change(second.id, { recurrences: 1 });
  await said(3);
  const words = await page.run(() => window.said);
  assert.equal(new Set(words).size, 1, String(words));
  // Somebody has it in hand: nothing to say.
  county.change(second.id, { state: 'active_ack', condition: 'active_ack' });
  await page.pass(2_000);
  await said(3);
});

test('while the link is lost the drawer calls neither device nor edge box online', async () => {
  const { county } = fed();
  const page = await it.open();
  await page.click('.tile[data-bed="3"] .open');
  await page.says('.drawer .health', '网关在线');
  county.cut();
  await page.pass(21_000, { beats: false });
  await page.says('.drawer .health', '网关状态不明');
  assert.ok(!(await page.text('.drawer .health')).includes('在线'));
});

test('a monitor that sends curves only is not told to have sent nothing', async () => {
  const { county } = it;
  const page = await it.open();
  const tile = '.tile[data-device="heping-monitor-01"]';
  await page.says(`${tile} .why`, '尚未收到数据');
  for (let second = 0; second < 4; second += 1) {
    county.wave(county.monitor, [make.block(county.monitor, Array(250).fill(0), county.ms - 1000)]);
    await page.pass(1_000);
  }
  await page.shows(`${tile} .strip[data-live="live"]`);
  await page.hides(`${tile} .why`);
  await page.pass(60_000);
  await page.says(`${tile} .why`, '尚未收到数据');
});

test('who goes to the beds or into the drawer by keys sees where they are', async () => {
  fed();
  const page = await it.open();
  const ring = (css) => page.run((one) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.querySelector(one));
    return outlineStyle === 'none' ? 0 : parseFloat(outlineWidth);
  }, css);
  await page.key('g');
  assert.ok(await ring('.grid > h2') >= 2);
  await page.run(() => document.querySelector('.tile[data-bed="3"] .open').focus());
  await page.key('Enter');
  await page.shows('.drawer');
  assert.ok(await page.run(() => document.activeElement.closest('.drawer') !== null));
  assert.ok(await page.run(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
  }));
});

test('the whole hash of an entry of the audit is there for a finger', async () => {
  const { county } = it;
  morning(county, 'audit_admin');
  const page = await it.open({ known: false });
  await page.run(() => {
    window.location.hash = 'audit';
  });
  await page.click('.hash summary');
  await page.says('.hash[open]', 'ab'.repeat(32));
  assert.equal(await page.run(() => document.querySelectorAll('.page [title]').length), 0);
});

test('a board on a wall: rows have no acknowledge, no deeds, no other patient', async () => {
  const { county } = fed();
  county.people.wall = 'kiosk';
  const page = await it.open({ user: 'wall', size: [360, 740], mobile: true });
  const row = rowOf(county.raise(county.monitor, 'high', { patient: ZHANG, metric: 'glucose' }));
  await page.click(`${row} .more`);
  await page.shows(`${row} .timeline`);
  for (const css of ['.ack', '.deeds button', '.not-this']) await page.hides(`${row} ${css}`);
  await page.hides('.thumb');
  for (const key of ['a', '1', 's', 'e']) await page.key(key);
  assert.equal(county.asked.some(({ method, url }) => method === 'POST' && url.includes('/alerts/')), false);
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');
});

test('where the clock of the computer is wrong a banner says by how much, and ages go by the county', async () => {
  const { county } = fed();
  const page = await it.open();
  await page.hides('.clock-banner');
  // The county's time goes on; this computer's stands.
  county.ms += 8_000;
  county.beat();
  await page.caughtUp();
  await page.pass(1_000);
  await page.says('.clock-banner', '8 秒');
});

test('the filter of townships is kept for each person', async () => {
  const page = await it.open();
  await page.run(() => document.querySelector('[data-town="和平镇卫生院"] input').click());
  await page.says('.townships', '和平镇卫生院');
  await page.send('Page.reload', {});
  await page.says('.townships', '和平镇卫生院');
  // Another at the same computer sees all.
  const value = it.county.session('wang');
  await it.browser.send('Storage.setCookies', {
    browserContextId: page.target.browserContextId,
    cookies: [{ name: 'clinic_session', value, url: it.county.url }],
  });
  page.secret = value;
  await page.send('Page.reload', {});
  await page.says('.user', 'wang');
  await page.says('.townships', '全部乡镇');
});

test('keys: K goes back, S shelves, E escalates, G leaves a page for the beds', async () => {
  const { county } = it;
  const page = await it.open();
  const [first, second] = [1, 2].map(() => county.raise(county.monitor, 'high'));
  await page.shows(rowOf(second));
  await page.pass(4_000);
  const focused = () => page.run(() => document.activeElement.dataset.alertId);
  for (const [key, at] of [['j', first], ['j', second], ['k', first]]) {
    await page.key(key);
    assert.equal(await focused(), at.id, key);
  }
  for (const [key, deed] of [['s', 'shelve'], ['e', 'escalate']]) {
    await page.key(key);
    await page.shows(`${rowOf(first)} form[data-deed="${deed}"]`);
    await page.key('Escape');
    await page.hides(`${rowOf(first)} form[data-deed="${deed}"]`);
  }
  await page.run(() => {
    window.location.hash = 'duty';
  });
  await page.shows('.page[data-page="duty"]');
  await page.run(() => document.activeElement.blur());
  await page.key('g');
  await page.hides('.page');
  assert.ok(await page.run(() => document.activeElement.matches('.grid')));
});

for (const [language, said] of [['zh-CN', '文字中不能出现患者姓名'], ['en', "leave the patient's name out of the text"]]) {
  test(`what the county refuses is said in the person's language, ${language}`, async () => {
    const { county } = it;
    const alert = county.raise(county.monitor, 'medium', { metric: 'hr' });
    county.answer({
      method: 'POST',
      path: '/shelve',
      status: 422,
      body: problem(422, 'A name', { code: 'named', detail: "reason: leave the patient's name out" })[1],
    });
    const page = await it.open({ language });
    const form = `${rowOf(alert)} form[data-deed="shelve"]`;
    await page.click(`${rowOf(alert)} .more`);
    await page.click(`${rowOf(alert)} [data-do="shelve"]`);
    await page.click(`${form} [data-field="reason"]`);
    await page.type('Zhang');
    await page.click(`${form} .primary`);
    await page.says(`${rowOf(alert)} .problem`, said);
  });
}

for (const [language, said] of [['zh-CN', '此床位或患者已不在看板上,请从床位图另选'], ['en', 'This bed or patient is no longer on the board']]) {
  test(`an address of a place that is gone says so, and can be shut, ${language}`, async () => {
    fed();
    const page = await it.open({ language });
    await page.run(() => {
      window.location.hash = 'bed=p-00000000000000000000000000000gone';
    });
    await page.says('.drawer .problem', said);
    await page.hides('.drawer .trends');
    await page.click('.drawer .close');
    await page.hides('.drawer');
    await page.click('.tile[data-bed="3"] .open');
    await page.says('.drawer h2', '3');
    await page.hides('.drawer .problem:not(:empty)');
  });
}
