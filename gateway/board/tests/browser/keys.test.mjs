// Checks by keyboard and ear (nurse board, chapter 10), by number, and what is worth adding to them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isRinged, serious } from './eyes.mjs';
import { at, patient, reading } from './fixtures.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const PATIENT = patient('p-00000000000000000000000000000001', '张**', '3', '');

test('18. keyboard only: J, Enter, A, a digit, Enter; the focus is always seen', async () => {
  const page = await it.open();
  const { county } = it;
  county.raise(county.monitor, 'medium');
  const row = rowOf(county.raise(county.monitor, 'high'));
  await page.shows(row);
  await page.pass(4_000);
  for (const key of ['j', 'Enter', 'a']) {
    await page.key(key);
    assert.ok(await page.run(isRinged), `after ${key} nobody sees where the focus is`);
  }
  // The stream tells it before the answer comes.
  const release = county.late('POST', '/acknowledge');
  await page.key('3');
  await page.shows(`${row}[data-state="active_ack"]`);
  assert.ok(await page.run(isRinged), 'the focus fell off the page');
  release();
  await page.key('Enter');
  assert.ok(await page.run(isRinged));
  await page.says(`${row} .owner`, 'li · 正在复测');
});

for (const theme of ['night', 'day']) {
  test(`18. nothing serious for axe, ${theme}`, async () => {
    const page = await it.open({ theme });
    const { county } = it;
    const states = ['active_unack', 'active_ack', 'cleared_unack', 'unknown', 'shelved', 'suppressed'];
    for (const state of states) county.raise(county.monitor, 'high', { state });
    county.measure(county.monitor, 'hr', '80');
    const row = rowOf(county.raise(county.monitor, 'medium'));
    await page.click(`${row} .more`);
    await page.click(`${row} .ack`);
    await page.key('?');
    await page.pass(1_000);
    assert.deepEqual(await serious(page), []);
  });
}

for (const theme of ['night', 'day']) {
  test(`the drawer: nothing serious for axe, ${theme}`, async () => {
    const { county } = it;
    const { patient: key } = PATIENT;
    county.patients = [{ ...PATIENT, clinic: county.monitor.clinic }];
    county.bind(county.monitor, key);
    county.measure(county.monitor, 'hr', '80');
    county.results = [{
      readings: [reading(county.monitor, 'glucose', '5.4', county.ms, { patient: key })],
      moves: [],
    }];
    const page = await it.open({ theme });
    await page.click('.tile[data-bed="3"] .open');
    await page.shows('.result');
    await page.run(() => document.querySelectorAll('.drawer summary').forEach((one) => one.click()));
    await page.click('.not-this');
    await page.pass(1_000);
    assert.deepEqual(await serious(page), []);
  });
}

test('A takes what stood first, and not what comes first in that moment', async () => {
  const page = await it.open();
  const { county } = it;
  const seen = county.raise(county.monitor, 'medium');
  await page.shows(rowOf(seen));
  await page.pass(5_000);
  const comes = county.raise(county.oximeter, 'high');
  await page.shows(rowOf(comes));
  const opened = () => page.run(() => (
    document.querySelector('.alert [data-reason]')?.closest('.alert').dataset.alertId));
  await page.key('a');
  assert.equal(await opened(), seen.id);
  await page.key('Escape');
  await page.run(() => document.activeElement.blur());
  await page.pass(1_000);
  await page.key('a');
  assert.equal(await opened(), comes.id);
});

test('a digit acknowledges where the focus is, and nothing where that has gone on', async () => {
  const page = await it.open();
  const { county } = it;
  const [first, second] = [county.monitor, county.oximeter].map((device) => county.raise(device, 'high'));
  await page.shows(rowOf(second));
  await page.pass(4_000);
  await page.key('a');
  await page.shows(`${rowOf(first)} [data-reason]`);
  await page.key('j');
  await page.hides('[data-reason]');
  assert.equal(await page.run(() => document.activeElement.dataset.alertId), second.id);
  await page.key('1');
  await page.pass(1_000);
  // By hand too the focus goes to another row.
  await page.click(`${rowOf(first)} .ack`);
  await page.shows(`${rowOf(first)} [data-reason]`);
  await page.run((css) => document.querySelector(css).focus(), rowOf(second));
  await page.key('1');
  await page.pass(1_000);
  const sent = () => county.asked.filter(({ url }) => url.includes('/acknowledge')).map(({ url }) => url.includes(second.id));
  assert.deepEqual(sent(), []);
  await page.key('a');
  await page.key('1');
  await page.shows(`${rowOf(second)}[data-state="active_ack"]`);
  assert.deepEqual(sent(), [true]);
});

test('what one did a moment before can be taken back too', async () => {
  const page = await it.open();
  const { county } = it;
  const [first, second] = ['high', 'medium'].map((priority) => county.raise(county.monitor, priority));
  for (const alert of [first, second]) {
    await page.click(`${rowOf(alert)} .ack`);
    await page.click(`${rowOf(alert)} [data-reason="at_bedside"]`);
    await page.shows(`${rowOf(alert)}[data-state="active_ack"]`);
    await page.pass(4_000);
  }
  await page.says('.undo-line:nth-child(1)', '撤销 (6 秒)');
  await page.says('.undo-line:nth-child(2)', '撤销 (2 秒)');
  await page.click('.undo-line:nth-child(2) button');
  await page.shows(`${rowOf(first)}[data-state="active_unack"]`);
  await page.shows(`${rowOf(second)}[data-state="active_ack"]`);
  await page.pass(7_000);
  await page.hides('.undo');
});

for (const language of ['zh-CN', 'en']) {
  test(`by keys alone what was done last is taken back, one thing at a press, ${language}`, async () => {
    const page = await it.open({ language });
    const { county } = it;
    const [first, second, third] = ['high', 'medium', 'low']
      .map((priority) => county.raise(county.monitor, priority));
    await page.shows(rowOf(third));
    await page.pass(4_000);
    await page.key('?');
    await page.says('.help', { 'zh-CN': 'U:10 秒内撤销', en: 'U: take back' }[language]);
    await page.key('Escape');
    for (const alert of [first, second]) {
      await page.key('j');
      await page.key('a');
      await page.key('2');
      await page.shows(`${rowOf(alert)}[data-state="active_ack"]`);
    }
    // The key stands where it takes back: at what was done last.
    const marked = () => page.run(() => [...document.querySelectorAll('.undo-line .keys')].map((one) => one.innerText.trim()));
    assert.deepEqual(await marked(), [{ 'zh-CN': 'U', en: '(U)' }[language], '']);
    // A U that is typed, or held, is no such press.
    await page.key('a');
    await page.shows(`${rowOf(third)} [data-reason]`);
    await page.run((css) => document.querySelector(`${css} input`).focus(), rowOf(third));
    await page.key('u');
    assert.equal(await page.run(() => document.activeElement.value), 'u');
    await page.key('Escape');
    await page.hold('u');
    await page.pass(1_000);
    assert.deepEqual(county.asked.filter(({ url }) => url.includes('/undo')), []);
    await page.key('u');
    await page.shows(`${rowOf(second)}[data-state="active_unack"]`);
    await page.shows(`${rowOf(first)}[data-state="active_ack"]`);
    await page.pass(2_000);
    await page.key('u');
    await page.shows(`${rowOf(first)}[data-state="active_unack"]`);
  });
}

test('what can be taken back takes no place from the list, and covers none of it', async () => {
  const page = await it.open();
  const { county } = it;
  const alerts = Array.from({ length: 12 }, () => county.raise(county.monitor, 'medium'));
  await page.shows(rowOf(alerts[11]));
  const list = () => page.box('.alert-list');
  const before = await list();
  for (const alert of alerts.slice(0, 3)) {
    await page.click(`${rowOf(alert)} .ack`);
    await page.click(`${rowOf(alert)} [data-reason="at_bedside"]`);
    await page.says('.undo', '撤销 (10 秒)');
    await page.shows(`${rowOf(alert)}[data-state="active_ack"]`);
    assert.deepEqual(await list(), before);
  }
  const bar = await page.box('.undo');
  assert.ok(before.y + before.height <= bar.y && bar.y + bar.height <= 900, JSON.stringify(bar));
  const [words, text] = await page.run(() => {
    const range = document.createRange();
    range.selectNodeContents(document.querySelector('footer'));
    return [range.getBoundingClientRect().left, document.querySelectorAll('.undo-line').length];
  });
  assert.equal(text, 3);
  assert.ok(words >= bar.x + bar.width, 'that it replaces no alarm can be read beside it');
  // A list that stands at its end stays there.
  const end = () => page.run(() => {
    const { scrollTop, scrollHeight, clientHeight } = document.querySelector('.alert-list');
    return [scrollTop, scrollHeight - scrollTop - clientHeight <= 1];
  });
  await page.run(() => document.querySelector('.alert-list').scrollTo(0, 1e6));
  await page.pass(4_000);
  await page.run(() => document.querySelector('.alert-list').scrollTo(0, 1e6));
  const [top, isEnd] = await end();
  assert.ok(isEnd);
  await page.pass(11_000);
  await page.hides('.undo');
  assert.deepEqual([await list(), (await end())[0]], [before, top]);
});

test('18. keyboard only: S and a digit, and another time by Shift+Tab and the arrows', async () => {
  const page = await it.open();
  const { county } = it;
  const [first, second] = ['high', 'medium'].map((priority) => county.raise(county.monitor, priority));
  await page.shows(rowOf(second));
  await page.pass(4_000);
  const asked = () => county.asked[county.asked.length - 1].body;
  const minutes = (from) => Math.ceil((Date.parse(asked().until) - from) / 60_000);
  await page.key('j');
  await page.key('s');
  assert.ok(await page.run(isRinged), 'after S nobody sees where the focus is');
  await page.key('2');
  await page.shows(`${rowOf(first)}[data-state="shelved"]`);
  assert.deepEqual([asked().reason, minutes(county.ms)], ['ready.treated', 5]);
  await page.run((css) => document.querySelector(css).focus(), rowOf(second));
  await page.key('s');
  const field = () => page.run(() => document.activeElement.dataset.field ?? document.activeElement.dataset.ready);
  assert.equal(await field(), 'care');
  await page.key('Tab', { shift: true });
  assert.equal(await field(), 'minutes');
  await page.key('ArrowDown');
  // In the times too a digit is a reason, and not another time.
  await page.key('1');
  await page.shows(`${rowOf(second)}[data-state="shelved"]`);
  assert.deepEqual([asked().reason, minutes(county.ms)], ['ready.care', 30]);
});

test('log-in: nothing serious for axe', async () => {
  const page = await it.open({ user: null });
  await page.shows('#password');
  assert.deepEqual(await serious(page), []);
});

test('shelving, handing on, escalating and notes; what one did is taken back', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  const row = rowOf(alert);
  await page.click(`${row} .more`);
  const fill = async (deed, fields) => {
    await page.click(`${row} [data-do="${deed}"]`);
    for (const [field, text] of Object.entries(fields)) {
      await page.click(`${row} form[data-deed="${deed}"] [data-field="${field}"]`);
      await page.type(text);
    }
    await page.click(`${row} form[data-deed="${deed}"] .primary`);
  };
  const asked = () => county.asked[county.asked.length - 1];
  await fill('note', { note: '家属在旁' });
  await page.says(`${row} .timeline`, '备注 · li · 家属在旁');
  await page.click(`${row} [data-do="assign"]`);
  const to = `${row} form[data-deed="assign"] [data-field="to"]`;
  await page.until('the list is there', (css) => document.querySelector(css), `${to} option[value="wang"]`);
  await page.run((css) => {
    document.querySelector(css).value = 'wang';
  }, to);
  // Without a reason nothing is sent; those that are ready are one touch.
  await page.click(`${row} form[data-deed="assign"] .primary`);
  assert.equal(county.alerts.get(alert.id).assigned_to, null);
  await page.click(`${row} form[data-deed="assign"] [data-ready="occupied"]`);
  await page.says(`${row} .owner`, '已转交 wang');
  assert.deepEqual(asked().body, { to: 'wang', reason: 'ready.occupied' });
  await page.says(`${row} .timeline`, '已转交 · li · 给 wang · 正在处理其他患者');
  await page.click(`${row} [data-do="escalate"]`);
  await page.click(`${row} form[data-deed="escalate"] .primary`);
  assert.equal(county.alerts.get(alert.id).escalation_level, 'first');
  await page.key('Escape');
  // `E`, then a digit.
  await page.key('e');
  await page.key('1');
  await page.says(`${row} .timeline`, '已通知下一级 · li · 第二值班人员 · 无人响应');
  assert.deepEqual(asked().body, { reason: 'ready.nobody_came' });
  // Who reads it in another language reads it there; a sentence of one's own stays as it is.
  await page.key('l');
  await page.says(`${row} .timeline`, 'nobody came');
  await page.says(`${row} .timeline`, 'I am with another patient');
  await page.says(`${row} .timeline`, '家属在旁');
  await page.key('l');
  // Without a reason nothing is sent.
  await page.click(`${row} [data-do="shelve"]`);
  await page.click(`${row} form[data-deed="shelve"] .primary`);
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');
  await page.key('Escape');
  await fill('shelve', { reason: '正在翻身' });
  await page.shows(`${row}[data-state="shelved"]`);
  const { reason, until } = asked().body;
  assert.equal(reason, '正在翻身');
  assert.ok(Date.parse(until) - county.ms <= 5 * 60_000 && Date.parse(until) > county.ms);
  await page.says('[data-section="shelved"]', '搁置 (1)');
  await page.says('.undo', '撤销 (10 秒)');
  // Of two beds with the same alert the bar says whose, and it lies on no alert.
  await page.says('.undo', '已搁置:未关联患者 · 血氧过低');
  const [list, bar] = [await page.box('.alert-list'), await page.box('.undo')];
  assert.ok(list.y + list.height <= bar.y, `the bar begins at ${bar.y}`);
  await page.click('.undo button');
  await page.shows(`${row}[data-state="active_unack"]`);
  await page.says(`${row} .timeline`, '已撤销 · li');
  await page.pass(10_000);
  await page.hides('.undo');
});

test('who was away for ten minutes says in the row that it is still they, and it is done', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  const row = rowOf(alert);
  county.idle = true;
  await page.click(`${row} .ack`);
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.says(`${row} .panel`, 'li 的 PIN');
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');
  for (const [pin, told] of [['1111', '不对,请重试'], ['2580', '']]) {
    await page.click(`${row} input[type="password"]`);
    await page.type(pin);
    await page.key('Enter');
    if (told) await page.says(`${row} .problem`, told);
  }
  await page.shows(`${row}[data-state="active_ack"]`);
  await page.says(`${row} .owner`, 'li · 已到床旁');
  // No dialog: the other rows stay in reach.
  await page.hides('dialog');
});

test('who is told next, and in how long', async () => {
  const page = await it.open();
  const { county } = it;
  const step = { level: 'township_doctor', at: at(county.ms + 130_000), person: '李明' };
  const row = rowOf(county.raise(county.monitor, 'high', { next_step: step }));
  await page.says(`${row} .next`, '2:10 后通知乡镇值班医生 李\u2060*');
  await page.says(`${row} .ladder`, '✓ 当班 → 第二值班 → ▸ 乡镇医生 → 县级值班');
  await page.pass(10_000);
  await page.says(`${row} .next`, '2:00 后');
});

test('names are masked in page, address, title and memory; no key is left untranslated', async () => {
  it.county.patients = [patient('p1', '张*', '3', '和平镇卫生院')];
  const page = await it.open();
  const { county } = it;
  const row = rowOf(county.raise(county.monitor, 'high', { patient: 'p1' }));
  await page.says(row, '3床 张*');
  assert.equal(await page.attribute(row, 'data-bed'), '3');
  await page.click(`${row} .more`);
  for (const state of ['cleared_unack', 'unknown', 'shelved', 'suppressed', 'active_ack']) {
    county.raise(county.monitor, 'medium', { state, patient: 'p1' });
  }
  await page.key('?');
  for (const language of ['zh-CN', 'en']) {
    await page.pass(1_000);
    const words = await page.run(() => document.body.innerText);
    const keys = words.match(/\b[a-z_]+\.[a-z_.-]+\b/g) ?? [];
    assert.deepEqual(keys.filter((one) => !one.endsWith('.')), [], language);
    await page.key('l');
  }
  const kept = await page.run(() => JSON.stringify([location.href, document.title, { ...localStorage }]));
  assert.ok(!kept.includes('张'), kept);
});

test('a flood is said, and only low ones are folded', async () => {
  const page = await it.open();
  const { county } = it;
  const high = county.raise(county.monitor, 'high');
  for (let n = 0; n < 11; n += 1) county.raise(county.monitor, 'low');
  await page.says('.flood', '10 分钟内 12 条新预警');
  assert.deepEqual(await page.rows(), [high.id]);
  await page.says('[data-section="folded"]', '低优先级 11 条');
  await page.click('[data-section="folded"] button');
  await page.until('the low ones are there', () => document.querySelectorAll('.alert').length === 12);
});
