// The pages beside the board, in a browser.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import { serious } from './eyes.mjs';
import * as make from './fixtures.mjs';
import { morning, RULES } from './office.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const NURSES = ['tray', 'followup', 'handover', 'devices', 'duty', 'figures', 'rules'];
const KEY = /\b(pages|upkeep|tray|followup|handover|devices|duty|figures|rules|people|audit|missing|role|class|population|rule_type)\.[a-z_]+/;

async function turn(page, name) {
  await page.run((key) => {
    window.location.hash = key;
  }, name);
  await page.shows(`.page[data-page="${name}"] .page-body > *`);
}

for (const language of ['zh-CN', 'en']) {
  test(`every page has its words, and nothing serious for axe, ${language}`, async () => {
    morning(it.county, 'doctor');
    const page = await it.open({ language, theme: language === 'en' ? 'day' : 'night' });
    for (const name of NURSES) {
      await turn(page, name);
      assert.doesNotMatch(await page.text('.page'), KEY, name);
      assert.deepEqual(await serious(page), [], name);
    }
  });
}

test('no page scrolls sideways on a phone at twice the text', async () => {
  morning(it.county, 'doctor');
  const page = await it.open({ size: [360, 740], mobile: true });
  await page.run(() => {
    document.documentElement.style.fontSize = '32px';
  });
  for (const name of NURSES) {
    await turn(page, name);
    const [wide, screen] = await page.run(() => [
      document.scrollingElement.scrollWidth, window.innerWidth,
    ]);
    assert.ok(wide <= screen, `${name}: ${wide} px on ${screen}`);
  }
});

test('on a phone a row is a card: every value with its name, nothing beside the screen', async () => {
  morning(it.county, 'doctor');
  const { county } = it;
  county.raise(county.monitor, 'high', { patient: county.patients[0].patient });
  const page = await it.open({ size: [360, 740], mobile: true });
  for (const name of ['followup', 'handover', 'devices', 'duty', 'figures', 'rules']) {
    await turn(page, name);
    const cells = await page.run(() => [...document.querySelectorAll('.page td')]
      .filter((cell) => cell.getClientRects().length)
      .map((cell) => {
        const inside = [...cell.querySelectorAll('*'), cell]
          .map((one) => one.getBoundingClientRect().right);
        return [getComputedStyle(cell, '::before').content, Math.max(...inside)];
      }));
    assert.ok(cells.length > 0, name);
    for (const [said, right] of cells) {
      assert.match(said, /^"\S/, name);
      assert.ok(right <= 360, `${name}: ${said} ends at ${right} px`);
    }
  }
});

test('on a phone a device has no line for what nobody said of it, and no condition breaks within a part', async () => {
  morning(it.county);
  const page = await it.open({ size: [360, 740], mobile: true });
  await turn(page, 'devices');
  const names = await page.run(() => [...document.querySelectorAll('.page td')]
    .filter((cell) => cell.getClientRects().length).map((cell) => cell.dataset.name));
  assert.ok(names.includes('最近数据') && !names.includes('电源') && !names.includes('对设备的操作'), String(names));
  await turn(page, 'rules');
  const broken = await page.run(() => [...document.querySelectorAll('.page td[data-name="条件"] .part')].filter((part) => {
    const { height } = part.getBoundingClientRect();
    part.style.whiteSpace = 'nowrap';
    const whole = part.getBoundingClientRect();
    part.style.whiteSpace = '';
    return height > whole.height && whole.width <= part.closest('td').clientWidth - 130;
  }).map((part) => part.textContent));
  assert.deepEqual(broken, []);
  const steps = await page.run(() => [...document.querySelectorAll('.page tr')]
    .filter((row) => row.innerText.includes('PUMP-NEAR-END'))
    .flatMap((row) => [...row.querySelectorAll('td[data-name="优先级"] .part')].map((part) => part.textContent.replace(/\u00a0/g, ' '))));
  assert.deepEqual(steps, ['低(重点药物:中) · ≤ 30 分钟 →', '中(重点药物:高) · ≤ 10 分钟']);
});

/** In the page: every part of a table is a plain box, as an old Chromium takes it in a card. */
function plainBoxes() {
  const parts = '.page table, .page thead, .page tbody, .page tr, .page th, .page td';
  for (const part of [...document.querySelectorAll(parts)].reverse()) {
    const box = document.createElement('div');
    for (const { name, value } of part.attributes) box.setAttribute(name, value);
    box.style.display = getComputedStyle(part).display;
    box.append(...part.childNodes);
    part.replaceWith(box);
  }
}

/** What a screen reader is told is below a node: roles of a table, inside each other. */
function rolesOf(nodes) {
  const all = new Map(nodes.map((node) => [node.nodeId, node]));
  const parts = ['table', 'row', 'columnheader', 'cell'];
  const found = [];
  const walk = (id, above) => {
    const { role, childIds } = all.get(id);
    const isPart = parts.includes(role.value);
    if (isPart) found.push([...above, role.value].join(' '));
    for (const child of childIds) walk(child, isPart ? [...above, role.value] : above);
  };
  walk(nodes.find(({ parentId }) => !parentId).nodeId, []);
  return found;
}

for (const [width, head] of [[360, false], [1366, true]]) {
  test(`a table is one for screen readers too where it is laid out as none, ${width} px`, async () => {
    morning(it.county, 'doctor');
    const page = await it.open({ size: [width, 740], mobile: width === 360 });
    for (const name of ['followup', 'devices', 'duty', 'figures', 'rules']) {
      await turn(page, name);
      await page.run(plainBoxes);
      const { nodes } = await page.send('Accessibility.getFullAXTree');
      const roles = rolesOf(nodes);
      const kinds = ['table', 'table row', 'table row cell'];
      if (head) kinds.push('table row columnheader');
      assert.deepEqual([...new Set(roles)].sort(), kinds.sort(), name);
    }
  });
}

test('of a box that is away nobody says that nothing is missing', async () => {
  morning(it.county);
  const page = await it.open();
  await turn(page, 'devices');
  await page.says('[data-online="false"] .whole', '离线后的数据待网关恢复连接后补传');
  assert.doesNotMatch(await page.text('[data-online="false"]'), /数据完整/);
});

test('of what is kept aside and not listed it is said how much, and no box is called complete', async () => {
  morning(it.county);
  const { county } = it;
  const ledger = county.more['/ledger']();
  for (const lane of ledger.outboxes) lane.missing = [];
  county.more['/ledger'] = () => ledger;
  const page = await it.open();
  await turn(page, 'devices');
  await page.says('[data-online="true"] .whole', '数据完整');
  ledger.aside_left_out = 12;
  await page.pass(61_000);
  await page.says('.page', '⚠ 另有 12 条更早另存的消息未列出');
  assert.doesNotMatch(await page.text('.page'), /数据完整|没有缺失/);
});

test('what is missing stays open for who opened it, and a table does under who scrolls it by keys', async () => {
  morning(it.county);
  const { county } = it;
  const ledger = county.more['/ledger']();
  ledger.outboxes[0].missing = [2, 4, 6, 8, 10].map((first, index) => ({
    first, last: first, state: 'dropped', cause: ['outbox_full', 'disk_full', 'damaged', 'outbox_lost', 'county_restored'][index],
    since: make.at(county.ms - 7_200_000), until: make.at(county.ms - 3_600_000),
  }));
  county.more['/ledger'] = () => ledger;
  const page = await it.open();
  await turn(page, 'devices');
  const asked = () => county.asked.filter(({ url }) => url.endsWith('/ledger')).length;
  await page.shows('.missing:not([open]) summary');
  await page.click('.missing summary');
  await page.shows('.missing[open]');
  const before = asked();
  await page.pass(61_000);
  assert.equal(asked(), before, 'nothing is drawn anew under who has just opened it');
  await page.run(() => document.activeElement.blur());
  await page.hover('.page h2');
  await page.pass(61_000);
  assert.ok(asked() > before);
  await page.shows('.missing[open]');
  await page.run(() => document.querySelector('.missing summary').focus());
  await page.key('Tab');
  const held = asked();
  const isTable = () => document.activeElement.matches('.page .scroll');
  assert.ok(await page.run(isTable));
  await page.pass(61_000);
  assert.deepEqual([await page.run(isTable), asked()], [true, held]);
});

test('how often a box and a device were lost in a day stands beside them, quietly where it was never', async () => {
  morning(it.county);
  const { county } = it;
  county.sites[0].lost_24h = { times: 3, seconds: 41 * 60, at_least: false };
  county.monitor.lost_24h = { times: 1, seconds: 90, at_least: false };
  const page = await it.open();
  await turn(page, 'devices');
  await page.says('[data-site="heping-01"] .facts [data-lost]', '24 小时内断线 3 次,共 41 分钟');
  await page.says('[data-site="heping-01"] td .lost', '24 小时内断线 1 次,共 1 分钟');
  const quiet = await page.run(() => [...document.querySelectorAll('[data-site="dongfeng-01"] .lost')]
    .map((one) => [one.textContent, one.matches('[data-lost]')]));
  assert.deepEqual(quiet, [['24 小时内未断线', false]]);
});

test('what was done to a device is said in the language of the page, on its page and in the drawer', async () => {
  const { first: { bed } } = morning(it.county);
  it.county.monitor.actions = [{
    action: 'clock_set', at: make.at(it.county.ms), text: 'set to 2026-11-26 09:30:00 local time, as the configuration says',
  }];
  const page = await it.open();
  await page.click(`.tile[data-bed="${bed}"] .open`);
  await page.says('.drawer .health', '09:30 已按配置校准时钟');
  assert.doesNotMatch(await page.text('.drawer'), /local time/);
  await turn(page, 'devices');
  await page.says('.page-body', '2026-11-26 09:30 已按配置校准时钟');
  assert.doesNotMatch(await page.text('.page-body'), /local time/);
});

test('the days of the follow-up are those of the clinics: an hour before midnight UTC is the next', async () => {
  morning(it.county);
  const list = it.county.more['/followup']();
  Object.assign(list.people[0], { since: '2026-11-05T23:30:00Z', refer_by: '2026-11-19T23:30:00Z' });
  it.county.more['/followup'] = () => list;
  const page = await it.open();
  await turn(page, 'followup');
  const words = await page.text('.page tbody tr');
  assert.ok(words.includes('2026-11-06') && words.includes('2026-11-20'), words);
  assert.ok(!words.includes('2026-11-05') && !words.includes('2026-11-19'), words);
});

test('a result that waits is given to a patient in two clicks, and back by undo', async () => {
  const { first, cuff } = morning(it.county);
  const { county } = it;
  const [reading] = county.waiting[0].readings;
  const asked = [];
  const path = `/readings/${reading.outbox}/${reading.lane}/${reading.seq}/${reading.index}/reassign`;
  const waiting = [...county.waiting];
  county.took[`POST ${path}`] = (body, by) => {
    asked.push(body);
    county.waiting = body.patient ? [] : waiting;
    const move = {
      from: body.from, to: body.patient, by, at: waiting[0].measured_time, reason: body.reason,
    };
    return [200, {
      readings: waiting[0].readings, moves: [move], two_hours: null, missed: null,
    }];
  };
  const page = await it.open();
  await turn(page, 'tray');
  await page.says(`[data-device="${cuff.device}"]`, '186/112 mmHg');
  await page.click(`.candidate[data-patient="${first.patient}"]`);
  assert.deepEqual(asked, [], 'one click gives nothing');
  await page.click('.give');
  await page.says('.undo', '张*');
  await page.says('.page-body', '没有待认领的结果');
  await page.click('.undo button');
  await page.shows(`[data-device="${cuff.device}"]`);
  assert.deepEqual(asked.map(({ patient, from }) => [patient, from]),
    [[first.patient, null], [null, first.patient]]);
  // Ten seconds later there is nothing to undo.
  await page.click(`.candidate[data-patient="${first.patient}"]`);
  await page.click('.give');
  await page.shows('.undo');
  await page.pass(11_000);
  await page.hides('.undo');
});

/** A tray whose results are taken by whoever they are given to; who they were given to. */
function taken(county) {
  const given = [];
  for (const { readings } of county.waiting) {
    const [{
      outbox, lane, seq, index,
    }] = readings;
    county.took[`POST /readings/${outbox}/${lane}/${seq}/${index}/reassign`] = ({ patient, from, reason }, by) => {
      given.push(patient);
      const moves = [{
        from, to: patient, by, at: make.at(county.ms), reason,
      }];
      return [200, {
        readings, moves, two_hours: null, missed: null,
      }];
    };
  }
  return given;
}

test('two with one masked name are told apart in the tray, before and after it is given', async () => {
  morning(it.county);
  const { county } = it;
  const [old, young, other] = [['c1', 848, 'male'], ['c2', 300, 'female'], ['c3', 500, 'female']].map(([key, months, sex]) => (
    make.patient(key.padEnd(32, '0'), '王**', null, make.HEPING.clinic, { age_months: months, sex })));
  county.patients = [old, young, other];
  county.waiting[0].candidates = [old, young].map(({ patient, name, bed }) => ({
    patient, name, bed, why: ['appointment'],
  }));
  const given = taken(county);
  const page = await it.open();
  await turn(page, 'tray');
  await page.says(`button.candidate[data-patient="${old.patient}"]`, '王** · 70 岁 男');
  await page.says(`button.candidate[data-patient="${young.patient}"]`, '王** · 25 岁 女');
  await page.says('select.candidate', '王** · 41 岁 女');
  await page.click(`button.candidate[data-patient="${young.patient}"]`);
  await page.says('.give', '归属给 王** · 25 岁 女');
  await page.click('.give');
  await page.says('.undo', '王** · 25 岁 女');
  assert.deepEqual(given, [young.patient]);
});

test('two with one masked name are told apart on the page of devices and in the limits of the handover sheet', async () => {
  const { first, second } = morning(it.county);
  const { county } = it;
  const alike = [[first, '王**', null, 848, 'male'], [second, '王**', null, 300, 'female']];
  for (const [patient, name, bed, months, sex] of alike) {
    Object.assign(patient, { name, bed, age_months: months, sex, clinic: make.HEPING.clinic });
  }
  const page = await it.open();
  await turn(page, 'handover');
  await page.says('[data-part="limits"] td', '王** · 70 岁 男 · ' + make.HEPING.clinic);
  county.bindings = [];
  county.bind(county.monitor, first.patient);
  await turn(page, 'devices');
  await page.says('.page table', '王** · 70 岁 男');
});

for (const [role, name, fold] of [
  ['doctor', 'duty', '[data-fold^="duty "]'], ['doctor', 'rules', '[data-fold="draft"]'],
  ['security_admin', 'people', '[data-fold^="person "]'],
]) {
  test(`what somebody opened stays open when the page is drawn anew, and keeps the focus: ${name}`, async () => {
    morning(it.county, role);
    const page = await it.open({ known: role === 'doctor' });
    await turn(page, name);
    await page.click(`${fold} summary`);
    const mark = (css, focus) => {
      const summary = document.querySelector(`${css} summary`);
      if (focus) summary.focus();
      else summary.blur();
      summary.parentElement.dataset.old = '';
    };
    const isNew = () => page.until('it is drawn anew', (css) => (
      document.querySelector(css) && document.querySelector(css).dataset.old === undefined), fold);
    await page.run(mark, fold, false);
    await page.click('.page .again');
    await isNew();
    assert.equal(await page.run((css) => document.querySelector(css).open, fold), true);
    // Drawn anew under the focus it keeps that too.
    await page.run(mark, fold, true);
    await page.run(() => document.querySelector('.page .again').click());
    await isNew();
    assert.ok(await page.run((css) => document.activeElement === document.querySelector(`${css} summary`), fold));
    // And shut it stays shut.
    await page.click(`${fold} summary`);
    await page.run(mark, fold, false);
    await page.click('.page .again');
    await isNew();
    assert.equal(await page.run((css) => document.querySelector(css).open, fold), false);
  });
}

test('by keys too whoever is in the list can be reached, and one key gives nothing', async () => {
  const { first } = morning(it.county);
  const { county } = it;
  const others = ['c1', 'c2', 'c3'].map((key, index) => (
    make.patient(key.padEnd(32, '0'), '王**', String(index + 4), make.HEPING.clinic)));
  county.patients = [first, ...others];
  const given = taken(county);
  const page = await it.open();
  await turn(page, 'tray');
  const focused = (css) => page.until(`${css} has the focus`, (one) => document.activeElement.matches(one), css);
  await page.run((css) => document.querySelector(css).focus(), `button.candidate[data-patient="${first.patient}"]`);
  await page.key('Enter');
  await focused('.give');
  await page.says('.give', '张*');
  // The key that chose is still down.
  await page.hold('Enter');
  assert.deepEqual(given, []);
  await page.key('Tab');
  await page.key('Enter');
  await focused('button.candidate');
  await page.hides('.give');
  await page.key('Tab');
  await focused('select.candidate');
  for (const _ of others) await page.key('ArrowDown');
  await focused('select.candidate');
  await page.says('.give', '6床 王**');
  await page.key('Tab');
  await focused('.give');
  await page.key('Enter');
  await page.says('.undo', '6床 王**');
  assert.deepEqual(given, [others[2].patient]);
});

test('follow-up: one reading above target colours the row, two in a row are referred', async () => {
  morning(it.county);
  const page = await it.open();
  await turn(page, 'followup');
  await page.says('[data-target="refer"]', '已过期');
  await page.says('[data-target="missed"]', '赵**');
  await page.says('[data-target="missed"]', '仅最近一次未达标');
  const colours = await page.run(() => ['refer', 'missed'].map((name) => (
    getComputedStyle(document.querySelector(`[data-target="${name}"] td`)).boxShadow)));
  assert.ok(colours.every((one) => one.includes('rgb')) && colours[0] !== colours[1], colours.join());
});

test('follow-up: who has no tile is known by age and sex, and by name for half a minute, on paper too', async () => {
  const { first } = morning(it.county);
  const { county } = it;
  const { ruled: _, ...whole } = make.patient('f00d', '赵测试', null, first.clinic);
  county.answer({
    method: 'POST', path: '/patients/f00d/unmask', once: true, status: 200, body: whole,
  });
  const page = await it.open();
  await turn(page, 'followup');
  const row = '[data-target="missed"] td:first-child';
  await page.says('[data-target="refer"] td:first-child', '张* 70 岁 男');
  await page.says(row, '赵** 63 岁 女');
  const paper = await page.paper();
  await page.click('.page .print');
  await paper('who it is', (sheet) => sheet.body.textContent.includes('赵** 63 岁 女'));
  await page.click(`${row} .reveal`);
  await page.says(row, '赵测试 63 岁 女');
  await page.hides(`${row} .reveal`);
  assert.equal(county.asked.filter(({ url }) => url.includes('/unmask')).length, 1);
  // What was pressed is gone: the name has the focus.
  const focused = (css) => page.until(`${css} has the focus`, (one) => document.activeElement.matches(one), css);
  await focused(`${row} [tabindex]`);
  // A page that asks again does not take it away, and nothing keeps it.
  await page.click('.page .again');
  await page.says(row, '赵测试');
  await page.pass(31_000);
  await page.says(row, '赵**');
  assert.ok(!(await page.run(() => document.querySelector('#app').textContent)).includes('赵测试'));
});

test('follow-up: who may see no names is offered none', async () => {
  morning(it.county, 'kiosk');
  const page = await it.open();
  await turn(page, 'followup');
  await page.says('[data-target="missed"]', '63 岁 女');
  await page.hides('.page .reveal');
});

test('the weekly figures are per day of a monitored patient', async () => {
  morning(it.county);
  const page = await it.open();
  await turn(page, 'figures');
  await page.says('.page', '每监护患者日预警');
  await page.says('.page', '2.5');
});

test('a high alert is counted in the top bar whatever page is open', async () => {
  morning(it.county);
  const page = await it.open();
  await turn(page, 'followup');
  it.county.raise(it.county.monitor, 'high');
  await page.says('.count[data-priority="high"]', '1/1');
  await page.key('Escape');
  await page.shows('.alert');
  await page.hides('.page');
});

test('what could not be read is said, and what was read before stays with its time', async () => {
  morning(it.county);
  const page = await it.open();
  await turn(page, 'devices');
  await page.says('.page-card[data-online="false"]', '断网后还能保存 9 天 4 小时');
  await page.says('.page-card[data-online="false"] [data-device-state]', '状态不明');
  it.county.down = true;
  for (const socket of it.county.sockets) socket.destroy();
  await page.click('.again');
  await page.says('.page-problem', '没有应答');
  await page.says('.page', '和平镇卫生院');
});

for (const [role, shown, hidden] of [
  ['security_admin', ['upkeep', 'devices', 'people'], ['board', 'tray', 'audit', 'handover']],
  ['audit_admin', ['upkeep', 'people', 'audit'], ['board', 'tray', 'devices']],
  ['kiosk', ['board', 'tray', 'handover'], ['upkeep', 'people', 'audit', 'rules']],
]) {
  test(`${role} sees the pages that are theirs, and no others`, async () => {
    morning(it.county, role);
    const page = await it.open({ known: role === 'kiosk' });
    await page.shows('.pages-nav a');
    for (const name of shown) await page.shows(`.pages-nav [data-page="${name}"]`);
    for (const name of hidden) {
      const there = await page.run((one) => (
        Boolean(document.querySelector(`.pages-nav [data-page="${one}"]`))), name);
      assert.ok(!there, name);
    }
    if (role === 'kiosk') {
      await turn(page, 'tray');
      await page.hides('.candidate');
    }
  });
}

for (const [language, words] of [
  ['zh-CN', ['网关 heping-01', '10 天', '空闲 9 %', '县平台本机', '已过期', '签发新证书', '不要复制 agent.toml', '清理数据目录',
    'clinic-gateway pki renew']],
  ['en', ['Edge box heping-01', '10 days', '9 % free', 'County, this service', 'has expired',
    'Issue a new certificate', 'never agent.toml', 'Make room', 'clinic-gateway pki renew']],
]) {
  test(`an administrator reads which box needs what, and what to do, ${language}`, async () => {
    morning(it.county, 'system_admin');
    const { county } = it;
    const low = (device, family, rule, value, limit) => {
      const { message_zh: zh, message_en: en } = RULES.rules.find(({ id }) => id === rule);
      const told = make.alert({ site: 'county', clinic: null, device }, 'low', county.ms, {
        metric: null, family, rules: [rule], value, limit, message_zh: zh, message_en: en,
      });
      county.alerts.set(told.id, told);
    };
    low('heping-01', 'tech_cert', 'TECH-CERT', '10', '< 14');
    low('heping-01', 'tech_storage', 'TECH-STORAGE', '9', '< 10');
    low('county', 'tech_cert', 'TECH-CERT', '-1', '< 14');
    const page = await it.open({ known: false, language });
    await turn(page, 'upkeep');
    for (const word of words) await page.says('.page[data-page="upkeep"]', word);
    assert.doesNotMatch(await page.text('.page'), KEY);
    assert.deepEqual(await serious(page), []);
    // On a phone too an option of a command stands in one line.
    await page.size(360, 740, true);
    const lines = await page.run(() => [...document.querySelectorAll('.page .option')].map((one) => (
      [one.textContent, one.getClientRects().length])));
    assert.deepEqual(new Set(lines.map(String)), new Set(['--out,1']));
    county.alerts.clear();
    await page.click('.again');
    await page.says('.page[data-page="upkeep"] .empty', language === 'en' ? 'Nothing' : '没有');
  });
}

for (const [role, changes] of [['security_admin', true], ['system_admin', false], ['audit_admin', false]]) {
  test(`people: ${role} has a column for changing: ${changes}`, async () => {
    morning(it.county, role);
    const page = await it.open({ known: false });
    await turn(page, 'people');
    const tables = await page.run(() => [...document.querySelectorAll('.page .table')].map((one) => (
      ['th', 'tbody tr:first-child td'].map((css) => one.querySelectorAll(css).length))));
    const columns = changes ? 5 : 4;
    assert.deepEqual(tables, [[columns, columns], [columns, columns]]);
    assert.equal((await page.text('.page')).includes('修改'), changes);
    const rows = await page.run(() => [...document.querySelectorAll('.page tbody tr')]
      .map((row) => [...row.cells].slice(0, 4).map((cell) => cell.innerText)));
    const [, , where, state] = rows.find(([name]) => name === 'qian');
    assert.deepEqual([where, state], ['–', '安全管理员授予角色并经确认后可登录']);
  });
}

test('rights that wait are put in force by an administrator of another kind', async () => {
  morning(it.county, 'system_admin');
  const { county } = it;
  const until = new Date(county.ms + 86_400_000).toISOString();
  county.pending = {
    request: 'a1', role: 'nurse', clinics: [make.HEPING.clinic], asked_by: 'sun', until,
  };
  county.took['POST /people/zhao/confirm'] = ({ request }) => {
    if (request !== county.pending.request) {
      return problem(409, 'Somebody was first', { code: 'request_changed' });
    }
    county.pending = null;
    return [200, county.more['/people']().people[1]];
  };
  const page = await it.open({ known: false });
  await turn(page, 'people');
  await page.says('.pending', `待确认:护士,${make.HEPING.clinic}`);
  // Something else is asked for while they read.
  Object.assign(county.pending, { request: 'a2', role: 'doctor', clinics: null });
  await page.click('.pending button');
  await page.says('.page-problem', '申请已更改,请刷新后核对再确认');
  await page.click('.again');
  await page.says('.pending', '待确认:医生,全县');
  await page.click('.pending button');
  await page.hides('.pending');
});

/** What the county says of previews: of version 2, how it stands, of how many sites and alerts. */
function previews(county) {
  const [from, to] = [-24, 0].map((hours) => make.at(county.ms + hours * 3_600_000));
  const set = (all, high) => ({
    rules: 'x',
    alerts: {
      all, high, medium: all - high, low: 0,
    },
    by_rule: [{ rule: 'HR-AD-H', alerts: all }],
    by_township: [],
    of_patients: all,
    alerts_per_patient_day: all / 10,
    of_devices: 0,
    alerts_per_device_day: null,
    newest: [],
  });
  return (state, sites, left, all, version = 2) => ({
    state, asked_by: 'li', version, from, to, sites, left_out: left, readings: 5000, patient_days: 10, device_days: 0,
    text_zh: `会发出 ${all} 条预警,其中高 3 条`, text_en: `would have raised ${all} alerts, 3 high`,
    asked: set(all, 3), live: set(11, 3),
  });
}

for (const [role, acts] of [['nurse', false], ['doctor', true]]) {
  test(`rules: ${role} has a column for what one may do: ${acts}`, async () => {
    morning(it.county, role);
    const page = await it.open();
    await turn(page, 'rules');
    const heads = await page.text('.page table thead');
    assert.equal(heads.includes('操作'), acts);
    const cells = await page.run(() => [...document.querySelectorAll('.page table')[0].rows]
      .map((row) => row.cells.length));
    assert.equal(new Set(cells).size, 1, 'every row has every column');
  });
}

test('the page of rules says which drugs make a rule more urgent', async () => {
  morning(it.county);
  const page = await it.open();
  await turn(page, 'rules');
  await page.says('.page', `重点药物(药名含下列文字):${RULES.meta.critical_drugs}`);
  await page.says('.page', '低(重点药物:中) · ≤\u00a030\u00a0分钟');
});

test('the set in force is not offered for approval, also where it came with the program', async () => {
  morning(it.county, 'doctor');
  const { '/rules': told } = it.county.more;
  it.county.more['/rules'] = () => {
    const answer = told();
    Object.assign(answer.versions[1], { approved_by: null, approved_at: null });
    return answer;
  };
  const page = await it.open();
  await turn(page, 'rules');
  const offered = await page.run(() => [...document.querySelectorAll('.page tbody tr')]
    .filter((row) => row.innerText.includes('批准并生效')).map((row) => row.cells[0].innerText));
  assert.deepEqual(offered, ['2']);
});

test('a set with mistakes is told line by line in the language of the page, as it was written', async () => {
  morning(it.county, 'doctor');
  let sent = null;
  it.county.took['PUT /rules'] = (body) => {
    sent = body;
    return problem(422, 'The rule set has mistakes', {
      code: 'rule_mistakes',
      detail: '2 mistakes; correct them and send it again',
      mistakes: [
        { line: 1, rule: null, code: 'form', why: 'expected value at line 1', text: 'expected value' },
        { line: 7, rule: 'HR-AD-LL', code: 'unit', unit: '/h', class: 'hr', canonical: '/min', text: 'the unit is /h' },
      ],
    });
  };
  const page = await it.open();
  await turn(page, 'rules');
  await page.click('summary');
  await page.click('textarea[name="set"]');
  await page.type('{"rules": nothing');
  await page.click('input[name="note"]');
  await page.type('夜班');
  await page.click('.page form button.primary');
  await page.says('.page-problem', '规则文件有 2 处错误');
  const said = await page.text('.page-problem');
  assert.ok(said.includes('第 1 行 不是规则文件的格式'), said);
  assert.ok(said.includes('第 7 行 HR-AD-LL 单位是 /h,类别 hr 的单位是 /min'), said);
  assert.ok(!said.includes('expected') && !said.includes('mistakes'), said);
  assert.equal(sent, '{"rules": nothing');
});

test('what a draft would have raised stands beside the live set before it is approved', async () => {
  morning(it.county, 'doctor');
  const { county } = it;
  const found = previews(county);
  county.took['POST /rules/preview'] = ({ version }) => {
    assert.equal(version, 2);
    county.took['GET /rules/preview'] = () => ended || [202, found('running', 2, 38, 6)];
    return [202, found('running', 1, 39, 5)];
  };
  let ended = null;
  county.took['DELETE /rules/preview'] = () => {
    ended = [200, found('stopped', 39, 1, 14)];
    return [204, null];
  };
  const page = await it.open();
  await turn(page, 'rules');
  await page.click('.preview');
  await page.says('.page', '已算 1 / 40 个网关');
  await page.says('.preview-text', '会发出 5 条预警');
  await page.pass(2_000);
  await page.says('.page', '已算 2 / 40 个网关');
  await page.click('.stop-preview');
  await page.pass(2_000);
  await page.says('.preview-text', '会发出 14 条预警,其中高 3 条');
  await page.hides('.stop-preview');
  await page.says('.page', '1 个网关未计算在内');
  await page.says('.page', '1.1');
});

test('while a preview runs a draft can be written, and the button that stops it stays', async () => {
  morning(it.county, 'doctor');
  const { county } = it;
  const found = previews(county);
  let sites = 0;
  const running = () => [202, found('running', sites, 40 - sites, sites)];
  county.took['POST /rules/preview'] = running;
  county.took['GET /rules/preview'] = () => {
    sites += 1;
    return running();
  };
  const page = await it.open();
  await turn(page, 'rules');
  await page.click('summary');
  await page.click('textarea[name="set"]');
  await page.type('{"rules"');
  await page.click('.preview');
  await page.shows('.stop-preview');
  await page.click('textarea[name="set"]');
  await page.run(() => {
    window.stopButton = document.querySelector('.stop-preview');
  });
  for (const n of [2, 3]) {
    await page.pass(2_000);
    await page.says('.page', `已算 ${n} / 40 个网关`);
  }
  await page.type(': []}');
  assert.deepEqual(await page.run(() => [
    document.querySelector('textarea[name="set"]').value, document.querySelector('details').open,
    document.querySelector('.stop-preview') === window.stopButton,
  ]), ['{"rules": []}', true, true]);
});

test('a preview whose answer fails once goes on, and a session that ended meanwhile is said', async () => {
  morning(it.county, 'doctor');
  const { county } = it;
  const found = previews(county);
  let told = [202, found('running', 1, 39, 5)];
  county.took['GET /rules/preview'] = () => told;
  const page = await it.open();
  await turn(page, 'rules');
  await page.says('.page', '已算 1 / 40 个网关');
  told = problem(500, 'The database did not answer');
  await page.pass(2_000);
  await page.shows('.stop-preview');
  told = [202, found('running', 2, 38, 6)];
  await page.pass(2_000);
  await page.says('.page', '已算 2 / 40 个网关');
  told = problem(401, 'Over');
  await page.pass(2_000);
  await page.shows('.login');
});

test('a preview is seen and stopped by whoever opens the page, also after a poll that failed', async () => {
  morning(it.county, 'doctor');
  const { county } = it;
  const found = previews(county);
  let told = [202, found('running', 1, 39, 5, null)];
  county.took['GET /rules/preview'] = () => told;
  county.took['DELETE /rules/preview'] = () => {
    told = [200, found('stopped', 3, 37, 8, null)];
    return [204, null];
  };
  const page = await it.open();
  await turn(page, 'rules');
  await page.says('.page', 'li 正在用最近 24 小时的数据试算一套未保存的规则');
  assert.equal(await page.attribute('.preview', 'disabled'), '', 'one at a time');
  await turn(page, 'devices');
  told = [202, found('running', 2, 38, 6, null)];
  await turn(page, 'rules');
  await page.says('.page', '已算 2 / 40 个网关');
  await page.run(() => {
    const real = window.fetch;
    window.fetch = (address, ...more) => {
      if (!address.includes('/rules/preview')) return real(address, ...more);
      window.fetch = real;
      return Promise.reject(new TypeError('no link'));
    };
  });
  await page.pass(2_000);
  await page.says('.previews', '县平台没有应');
  await page.shows('.stop-preview');
  told = [202, found('running', 3, 37, 8, null)];
  await page.pass(2_000);
  await page.says('.page', '已算 3 / 40 个网关');
  await page.click('.stop-preview');
  await page.pass(2_000);
  await page.hides('.stop-preview');
  await page.says('.page', '一套未保存的规则在 24 小时内会怎样');
  // Of version 2, which was not asked for, nothing is said.
  assert.doesNotMatch(await page.text('.page'), /版本 2/);
});

/** What A4 leaves between its margins, at 96 px an inch. */
const SHEET_PX = 680;

for (const language of ['zh-CN', 'en']) {
  test(`every sheet fits on A4, ${language}`, async () => {
    morning(it.county);
    const { county } = it;
    county.raise(county.monitor, 'high', { patient: county.patients[0].patient });
    const page = await it.open({ language, size: [SHEET_PX, 1000] });
    await page.media([], 'print');
    for (const name of ['handover', 'followup', 'figures']) {
      await turn(page, name);
      const wide = await page.run(() => Math.max(...[...document.querySelectorAll('.page, .table')]
        .map((one) => one.getBoundingClientRect().right)));
      assert.ok(wide <= SHEET_PX, `${name} is ${wide} px wide`);
    }
  });
}

test('a list that was filtered says by what on paper too', async () => {
  morning(it.county);
  const page = await it.open();
  await turn(page, 'followup');
  const paper = await page.paper();
  await page.run(() => {
    const [programme] = document.querySelectorAll('.page .filters select');
    programme.value = 'diabetes';
    programme.dispatchEvent(new Event('change'));
  });
  await page.wait('it is asked for', () => it.county.asked.some(({ url }) => url.includes('programme=diabetes')));
  await page.caughtUp();
  await page.click('.page .print');
  await paper('it is printed', (sheet) => sheet.body.dataset.printed === 'true');
  const fields = await paper('its filters', (sheet) => [...sheet.querySelectorAll('.filters .field')]
    .map((one) => one.textContent));
  assert.deepEqual(fields, ['项目糖尿病', '人群全部']);
});

test('the handover sheet is of when its data is, and asks for the limits of each patient once', async () => {
  morning(it.county);
  const { county } = it;
  const page = await it.open();
  await turn(page, 'handover');
  await page.says('.page', '2026-11-26 09:30');
  const asked = () => county.asked.filter(({ url }) => url.endsWith('/limits')).length;
  const once = asked();
  assert.ok(once > 0);
  await page.pass(61_000);
  await page.says('.page .as-of', '09:31:');
  assert.equal(asked(), once);
  await page.says('[data-part="limits"] h3', '截至 2026-11-26 09:30:0');
  // Nobody answers: drawn anew it stays of when it was read.
  county.answer({ method: 'GET', path: '/alerts?state=open', status: 500, body: problem(500, 'Not now')[1] });
  await page.pass(180_000);
  await page.key('l');
  await page.says('.page .as-of', '09:31:');
  await page.says('.page-body', '2026-11-26 09:31');
  assert.equal((await page.text('.page-body')).includes('09:34'), false);
  county.script = [];
  // Who asks gets everything.
  await page.click('.page .again');
  await page.says('[data-part="limits"] h3', '2026-11-26 09:34');
  assert.equal(asked(), 2 * once);
});

test('the handover sheet says of an alert what its row says of it', async () => {
  const { first: { patient } } = morning(it.county);
  const { county } = it;
  county.raise(county.monitor, 'high', {
    patient, realarm_count: 2, not_rechecked: true, time_suspect: true, timeline: [
      make.step('raised', county.ms - 60_000),
      make.step('acknowledged', county.ms - 50_000, { by: 'li', note: 'ready.name_left_out' }),
      make.step('noted', county.ms - 40_000, { by: 'li', note: '家属在旁' }),
    ],
  });
  county.raise(county.monitor, 'high', {
    patient, state: 'cleared_unack', retro: true, late_row: 6, cleared_at: make.at(county.ms),
  });
  county.raise(county.monitor, 'medium', {
    patient, state: 'shelved', shelved_by: 'wang', shelved_until: make.at(county.ms + 300_000), shelf_reason: '翻身',
  });
  const page = await it.open();
  await turn(page, 'handover');
  await page.says('[data-part="open"]', '应复测,尚未复测 · ⚠ 时间存疑 · 再次提醒 2 次 · (备注含患者姓名,已略去) · 家属在旁');
  await page.says('[data-part="cleared"]', '补传数据,发生于 09:30');
  await page.says('[data-part="shelved"]', '搁置至 09:35(wang:翻身)');
});

test('that who an alert was handed to has answered is in its row and on the handover sheet', async () => {
  const { first: { patient } } = morning(it.county);
  const { county } = it;
  const alert = county.raise(county.monitor, 'high', { patient });
  const page = await it.open();
  const row = `${rowOf(alert)} .owner`;
  const answered = { acknowledged_by: 'wang', acknowledged_at: make.at(county.ms), reason: 'at_bedside', state: 'active_ack' };
  county.change(alert.id, { assigned_to: 'wang', owner: 'wang' });
  await page.says(row, '已转交 wang');
  county.change(alert.id, answered);
  await page.says(row, 'wang · 已到床旁 · 09:30');
  await turn(page, 'handover');
  await page.says('[data-part="open"]', 'wang · 已到床旁 · 09:30');
  await page.run(() => {
    window.location.hash = '';
  });
  // Handed on after the answer it is the other's.
  county.change(alert.id, { assigned_to: 'zhao', owner: 'zhao' });
  await page.says(row, '已转交 zhao');
  // It signals again: nobody has answered that.
  county.change(alert.id, { assigned_to: 'wang', state: 'active_unack' });
  await page.says(row, '已转交 wang');
});

test('the handover sheet is black on white on paper, with two lines to sign', async () => {
  morning(it.county);
  const { county } = it;
  county.raise(county.monitor, 'high', { patient: county.patients[0].patient });
  county.monitor.out_of_service = {
    by: 'zhao', at: make.at(county.ms), reason: '送修', until: null,
  };
  const page = await it.open();
  await turn(page, 'handover');
  await page.media([], 'print');
  await page.says('.page', '交班人签名');
  await page.says('.page-head', '2026-11-26');
  await page.says('[data-part="limits"]', 'HR-AD-H');
  await page.says('[data-part="limits"]', '中 · 心率 >\u00a0130\u00a0次/分');
  await page.says('[data-part="devices"]', '监护仪 heping-monitor-01');
  await page.says('[data-part="devices"]', 'zhao · 送修');
  await page.says('[data-part="open"]', '张*');
  await page.hides('.pages-nav');
  const colours = await page.run(() => [...document.querySelectorAll('.page *')]
    .filter((one) => one.getClientRects().length)
    .map((one) => getComputedStyle(one).color));
  assert.deepEqual([...new Set(colours)], ['rgb(0, 0, 0)']);
  // It is printed from a window of its own: alerts and sound go on.
  await page.media([], '');
  const paper = await page.paper();
  await page.click('.page .print');
  await paper('it is printed', (sheet) => sheet.body.dataset.printed === 'true');
  await paper('all of it', (sheet) => ['交班人签名', 'HR-AD-H', '张*'].every((one) => (
    sheet.body.textContent.includes(one))));
  await paper('no button', (sheet) => sheet.querySelector('button') === null);
  assert.equal(await page.run(() => document.querySelector('#paper').src.includes('%')), false);
  // A window that may not open says so.
  await page.run(() => {
    window.open = () => null;
  });
  await page.click('.page .print');
  await page.pass(11_000);
  await page.says('.page-problem', '打印窗口未打开');
});
