// Checks of the alert list (nurse board, chapter 10), by number and name.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import * as make from './fixtures.mjs';
import { rowOf, stand } from './stand.mjs';
import {
  contrasts, flashes, shapes,
} from './eyes.mjs';

const it = stand();
const ALL = ['high', 'medium', 'low'];

/** One alert of each priority. */
function three() {
  return ALL.map((priority) => it.county.raise(it.county.monitor, priority));
}

test('1. colours are not alone: a word, and a glyph whose shape is seen in grey', async () => {
  const page = await it.open();
  const rows = three().map(rowOf);
  const words = { high: '高', medium: '中', low: '低' };
  for (const [index, row] of rows.entries()) {
    await page.says(row, words[ALL[index]]);
    await page.shows(`${row} .glyph`);
  }
  for (const eyes of ['achromatopsia', 'protanopia', 'deuteranopia', 'tritanopia']) {
    await page.vision(eyes);
    const seen = await shapes(page, rows.map((row) => `${row} .glyph`));
    for (const [a, b] of [[0, 1], [0, 2], [1, 2]]) {
      const apart = seen.differ[a][b];
      assert.ok(apart > 0.05, `${eyes}: ${ALL[a]} looks like ${ALL[b]}: ${apart}`);
    }
  }
});

for (const theme of ['night', 'day']) {
  test(`2. contrast: every text of every row, ${theme}`, async () => {
    const page = await it.open({ theme });
    const { county } = it;
    const states = ['active_unack', 'active_ack', 'cleared_unack', 'unknown', 'shelved',
      'suppressed', 'out_of_service'];
    let last;
    for (const state of states) {
      for (const priority of ALL) last = county.raise(county.monitor, priority, { state });
    }
    for (const priority of ALL) {
      last = county.raise(county.monitor, priority, { state: 'cleared_unack', retro: true });
    }
    await page.shows(rowOf(last));
    await page.run(() => document.querySelectorAll('.more').forEach((button) => button.click()));
    const found = await page.run(contrasts, '.alert');
    assert.ok(found.length > 100, `only ${found.length} texts`);
    assert.deepEqual(found.filter(({ ratio }) => ratio < 4.5), []);
  });
}

test('3. flash: high 1.4 to 2.8 Hz, medium 0.4 to 0.8 Hz, low none, nothing above 3 Hz', async () => {
  const page = await it.open();
  const rows = three().map(rowOf);
  await page.shows(rows[2]);
  const glyphs = rows.map((row) => `${row} .glyph`);
  const looked = async (css) => {
    const found = await page.run(flashes, css, 5000);
    it.county.ms += 5000;
    it.county.beat();
    await page.caughtUp();
    return found;
  };
  const [high, medium, low] = await looked(glyphs);
  assert.ok(high >= 1.4 && high <= 2.8, `high ${high} Hz`);
  assert.ok(medium >= 0.4 && medium <= 0.8, `medium ${medium} Hz`);
  assert.equal(low, 0);
  const everywhere = await looked(['*']);
  assert.ok(everywhere.length > 50 && everywhere.every((hz) => hz <= 3));
  await page.media([['prefers-reduced-motion', 'reduce']]);
  assert.deepEqual(await looked(glyphs), [0, 0, 0]);
  assert.ok((await looked(['*'])).every((hz) => hz === 0));
  assert.equal(await page.text(`${rows[0]} .new`), '新');
  // Instead of the flash a double border, which one sees on each of the colours.
  const borders = await page.run((all) => all.map((row) => {
    const { borderTopStyle, borderTopColor, color } = getComputedStyle(document.querySelector(row));
    return [borderTopStyle, borderTopColor === color];
  }), rows);
  assert.deepEqual(borders, rows.map(() => ['double', true]));
});

test('5. order: unacknowledged high first, of two the older one', async () => {
  const page = await it.open();
  const { county } = it;
  const raised = [];
  for (const priority of ['low', 'high', 'medium', 'high']) {
    await page.pass(1000);
    raised.push(county.raise(county.monitor, priority));
  }
  const [low, high, medium, newer] = raised;
  await page.shows(rowOf(newer));
  assert.deepEqual(await page.rows(), [high, newer, medium, low].map(({ id }) => id));
});

for (const [how, reach] of [
  ['under the finger', (page, row) => page.hover(row)],
  ['under the focus', (page) => page.key('j')],
]) {
  test(`6. no jump ${how}: for 3 s`, async () => {
    const page = await it.open();
    const { county } = it;
    const medium = county.raise(county.monitor, 'medium');
    await page.shows(rowOf(medium));
    await reach(page, rowOf(medium));
    const { y } = await page.box(rowOf(medium));
    const high = county.raise(county.monitor, 'high');
    await page.shows(rowOf(high));
    for (let passed = 0; passed < 2900; passed += 290) {
      assert.equal((await page.box(rowOf(medium))).y, y, `after ${passed} ms`);
      await page.pass(290);
    }
    await page.pass(1000);
    assert.deepEqual(await page.rows(), [high.id, medium.id]);
    assert.ok((await page.box(rowOf(medium))).y > y);
  });
}

test('10. acknowledged is true: not before the county says so', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  const row = rowOf(alert);
  const release = county.hold('POST', '/acknowledge');
  await page.click(`${row} .ack`);
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.says(`${row} .ack`, '确认中…');
  await page.pass(4900);
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');
  await page.pass(3100);
  await page.says(`${row} .problem`, '未成功');
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');
  release();

  const other = rowOf(county.raise(county.monitor, 'high'));
  await page.click(`${other} .ack`);
  await page.click(`${other} [data-reason="doctor_called"]`);
  await page.shows(`${other}[data-state="active_ack"]`);
  await page.click(`${other} .more`);
  await page.says(`${other} .timeline`, '09:30 · 确认 · li · 已通知医生');
});

test('11. it needs a person and a reason', async () => {
  const stranger = await it.open({ user: null });
  await stranger.shows('#password');
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  const call = async (path, body) => (await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })).status;
  const path = `/api/v1/alerts/${alert.id}/acknowledge`;
  assert.equal(await stranger.run(call, path, { reason: 'at_bedside' }), 401);

  const page = await it.open();
  assert.equal(await page.run(call, path, {}), 400);
  const row = rowOf(alert);
  await page.click(`${row} .ack`);
  await page.says(`${row} .ack`, '请选原因');
  assert.equal(await page.attribute(`${row} .ack`, 'disabled'), '');
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');

  // Who logs in sees it.
  await stranger.click('#name');
  await stranger.type('wang');
  await stranger.click('#password');
  await stranger.type('right');
  await stranger.key('Enter');
  await stranger.shows(row);
});

test('12. two nurses: one owner, and the other sees who', async () => {
  const { county } = it;
  const pages = [await it.open({ user: 'li' }), await it.open({ user: 'wang' })];
  const row = rowOf(county.raise(county.monitor, 'high'));
  const releases = pages.map(() => county.hold('POST', '/acknowledge'));
  for (const page of pages) {
    await page.click(`${row} .ack`);
    await page.click(`${row} [data-reason="at_bedside"]`);
    await page.says(`${row} .ack`, '确认中…');
  }
  for (const release of releases) release();
  for (const page of pages) await page.says(`${row} .owner`, 'li · 已到床旁');
  await pages[1].says(`${row} .problem`, 'li 已先确认');
  assert.equal(await pages[0].text(`${row} .problem`), '');
});

test('13. latched high: over and unseen it stays, hollow, until it is acknowledged', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  const row = rowOf(alert);
  await page.shows(row);
  await page.pass(5000);
  county.change(alert.id, {
    state: 'cleared_unack', condition: 'cleared_unack', cleared_at: new Date(county.ms).toISOString(),
  });
  await page.shows(`${row}[data-state="cleared_unack"]`);
  await page.pass(60_000);
  await page.says(row, '已恢复未确认');
  const look = await page.run((one) => {
    const { borderStyle } = getComputedStyle(document.querySelector(one));
    const { backgroundColor } = getComputedStyle(document.querySelector(`${one} .priority`));
    return [borderStyle, backgroundColor];
  }, row);
  assert.deepEqual(look, ['dashed', 'rgba(0, 0, 0, 0)']);
  await page.click(`${row} .ack`);
  await page.click(`${row} [data-reason="rechecking"]`);
  await page.hides(`${row}[data-state="cleared_unack"]`);
  await page.pass(5000);
  await page.hides(row);
  await page.click('[data-section="over"] button');
  await page.says(`${row}[data-state="closed"]`, '已结束');
  // Where no number raised it there is none to name.
  county.change(alert.id, { value: null });
  await page.until('no name stands without a number', (one) => (
    document.querySelector(`${one} .value`).hidden), row);
});

test('17. a filter never hides danger', async () => {
  const page = await it.open();
  const { county } = it;
  await page.key('f');
  await page.click('[data-town="和平镇卫生院"] input');
  await page.hides('.tile[data-device="dongfeng-spo2-01"]');
  const alert = county.raise(county.oximeter, 'high');
  await page.says('.others', '其他乡镇 高 1');
  await page.hides(rowOf(alert));
  await page.says('.townships', '和平镇卫生院');
  // As many devices as are shown, and not those of the county.
  const shown = county.devices.filter(({ site }) => site !== alert.site).length;
  assert.ok(shown < county.devices.length);
  await page.says('#tiles-heading', `设备 ${shown}`);
  await page.says('.empty', '所选乡镇没有未处理的预警');
  await page.click('.others');
  await page.shows(rowOf(alert));
});

test('a list that follows a row down says what waits above it, and goes there', async () => {
  const page = await it.open({ size: [1366, 768] });
  const { county } = it;
  const shelved = county.raise(county.monitor, 'medium', {
    state: 'shelved', condition: 'active_ack', shelved_by: 'li', shelf_reason: '等待复测',
    shelved_until: make.at(county.ms + 6 * 60_000),
  });
  const waiting = ['high', 'high', 'medium', 'medium', 'medium'].map((priority) => county.raise(county.monitor, priority));
  await page.shows(rowOf(waiting[4]));
  assert.equal(await page.run(() => document.querySelector('.above').hidden), true);
  await page.run((css) => document.querySelector(css).focus(), rowOf(shelved));
  await page.says('.above', '▲!!! ↑ 上方未确认 高 2 中');
  const [head, bar] = [await page.box('.alert-list'), await page.box('.above')];
  assert.ok(bar.y >= head.y && bar.y + bar.height <= head.y + 50, 'it is at the top of the list');
  await page.click('.above');
  await page.until('the first that waits is in sight and has the focus', (css) => (
    document.activeElement === document.querySelector(css)
    && document.querySelector('.above').hidden), rowOf(waiting[0]));
});

test('how many are over is not said before it was read', async () => {
  const page = await it.open();
  const { county } = it;
  const head = '[data-section="over"]';
  await page.says(head, '已结束(12 小时内)');
  const answer = county.answer({
    method: 'GET', path: 'state=closed', once: true, status: 500, body: problem(500, 'Broken')[1],
  });
  await page.click(`${head} button`);
  await page.says(head, '未能读取已结束的预警');
  assert.ok(!(await page.text(head)).includes('12 小时内没有'));
  assert.ok(!county.script.includes(answer));
  await page.click(`${head} button`);
  await page.click(`${head} button`);
  await page.says(head, '已结束(12 小时内,0)');
  await page.says(head, '12 小时内没有已结束的预警');
});

test('a part that is shut says how many high ones wait in it', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high', { state: 'cleared_unack' });
  await page.shows(rowOf(alert));
  const head = '[data-section="cleared"]';
  await page.hides(`${head} .count`);
  await page.click(`${head} button`);
  await page.hides(rowOf(alert));
  await page.says(`${head} .count[data-priority="high"]`, '高 1');
});

test('6. no jump under the wheel, also where it brings no other row under the pointer', async () => {
  const page = await it.open();
  const { county } = it;
  const medium = county.raise(county.monitor, 'medium');
  await page.shows(rowOf(medium));
  await page.hover(rowOf(medium));
  await page.pass(5_000);
  await page.run(() => {
    document.addEventListener('wheel', () => {
      window.isTurned = true;
    });
  });
  await page.mouse('mouseWheel', rowOf(medium), { deltaX: 0, deltaY: 90 });
  await page.until('the page hears of it', () => window.isTurned);
  const { y } = await page.box(rowOf(medium));
  const high = county.raise(county.monitor, 'high');
  await page.shows(rowOf(high));
  await page.pass(2_500);
  assert.equal((await page.box(rowOf(medium))).y, y);
  await page.pass(1_500);
  assert.deepEqual(await page.rows(), [high.id, medium.id]);
});

test('danger signs: asked on the row, a yes makes it high and the referral is written', async () => {
  const page = await it.open();
  const { county } = it;
  const bp = { metric: 'nibp_sys', asks_danger_signs: true };
  const alert = county.raise(county.monitor, 'medium', bp);
  const row = rowOf(alert);
  await page.says(`${row} .state`, '未询问危险征象');
  // Whoever asks says yes or none; nothing is sent that nobody said.
  await page.click(`${row} .ask-signs`);
  const [yes, no] = ['yes', 'none'].map((answer) => `${row} [data-answer="${answer}"]`);
  await page.shows(no);
  assert.equal(await page.attribute(yes, 'disabled'), '');
  await page.click(`${row} [data-sign="chest_pain"]`);
  await page.click(`${row} [data-sign="vomiting"]`);
  assert.equal(await page.attribute(no, 'disabled'), '');
  await page.click(yes);
  await page.shows(`${row}[data-priority="high"]`);
  await page.says(`${row} .state`, '危险征象:呕吐、胸痛');
  const asked = county.asked.filter(({ url }) => url.includes('/danger-signs'));
  assert.deepEqual(asked.map(({ body }) => body), [{ signs: ['vomiting', 'chest_pain'] }]);
  // The referral is one key away, with values, signs, who and when.
  const focused = await page.run(() => document.activeElement.dataset.reason);
  assert.equal(focused, 'referred');
  await page.key('Enter');
  await page.shows(`${row}[data-state="active_ack"]`);
  const { body: { reason, note } } = county.asked[county.asked.length - 1];
  assert.deepEqual([reason, note], ['referred',
    '转诊:最近 收缩压 186 mmHg(自 09:30 起);危险征象:呕吐、胸痛;询问人 li 09:30']);
  await page.click(`${row} .more`);
  await page.says(`${row} .timeline`, '询问危险征象 · li · 呕吐、胸痛');

  // Of what was over and came again it says both begins.
  const came = county.raise(county.monitor, 'medium', {
    ...bp, started_at: make.at(county.ms - 50 * 60_000),
    timeline: [make.step('raised', county.ms - 50 * 60_000), make.step('recurred', county.ms - 5 * 60_000)],
  });
  await page.click(`${rowOf(came)} .ask-signs`);
  await page.click(`${rowOf(came)} [data-sign="vomiting"]`);
  await page.click(`${rowOf(came)} [data-answer="yes"]`);
  await page.until('the referral is written', () => document.activeElement.dataset.reason === 'referred');
  await page.key('Enter');
  await page.shows(`${rowOf(came)}[data-state="active_ack"]`);
  assert.match(county.asked[county.asked.length - 1].body.note,
    /^转诊:最近 收缩压 186 mmHg\(自 09:25 起再次超限,首次 08:40\);危险征象:呕吐/);

  const none = rowOf(county.raise(county.monitor, 'medium', bp));
  await page.click(`${none} .ask-signs`);
  await page.click(`${none} [data-answer="none"]`);
  await page.says(`${none} .state`, '无危险征象');
  await page.hides(`${none} .ask-signs`);
  assert.equal(await page.attribute(none, 'data-priority'), 'medium');
  const other = rowOf(county.raise(county.monitor, 'medium'));
  await page.shows(other);
  await page.hides(`${other} .ask-signs`);
});

test('a list that the county has cut says so', async () => {
  it.county.truncated = true;
  const page = await it.open();
  await page.says('.alert-list', '预警太多,只列出最新的');
});

test('what ended is more than the board keeps: the list says so', async () => {
  const page = await it.open();
  const { county } = it;
  const over = Array.from({ length: 501 }, () => make.alert(county.monitor, 'low', county.ms, {
    state: 'closed', condition: 'closed',
  }));
  const body = {
    alerts: over, flood: null, offers: [], truncated: false,
  };
  county.answer({ method: 'GET', path: 'state=closed', status: 200, body });
  await page.click('[data-section="over"] button');
  await page.says('.alert-list', '预警太多,只列出最新的');
});

test('a row that cannot be drawn stops no other', async () => {
  const page = await it.open();
  const { county } = it;
  const bad = county.raise(county.monitor, 'high', { started_at: 'nonsense' });
  const good = county.raise(county.monitor, 'high');
  await page.shows(rowOf(good));
  await page.shows('.fault-banner');
  await page.click(`${rowOf(good)} .ack`);
  await page.click(`${rowOf(good)} [data-reason="at_bedside"]`);
  await page.shows(`${rowOf(good)}[data-state="active_ack"]`);
  // From here on it can be drawn, and no fault comes after those that were meant.
  county.change(bad.id, { started_at: good.started_at });
  await page.caughtUp();
  assert.ok(page.faults.splice(0).length && county.faults.splice(0).length >= 0);
});

test('acknowledged while the edge box is away: it stays, and the text says what it does not do', async () => {
  const page = await it.open();
  const { county } = it;
  Object.assign(county.sites[0], { online: false });
  county.say('site', county.sites[0]);
  const alert = county.raise(county.monitor, 'high', { state: 'unknown', condition: 'unknown' });
  const row = rowOf(alert);
  await page.click(`${row} .ack`);
  await page.says(`${row} .explain`, '确认=我已知晓并处理;不会停止床旁报警');
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.says(`${row} .owner`, 'li · 已到床旁');
  const { method, url, body } = county.asked[county.asked.length - 1];
  assert.deepEqual([method, url.split('?')[0], body.reason],
    ['POST', `/api/v1/alerts/${alert.id}/acknowledge`, 'at_bedside']);
  // What is to be done meanwhile is in the box's own row, until it is over.
  const box = county.raise({ ...county.monitor, device: county.monitor.site }, 'medium', {
    metric: null, value: null, rules: ['EDGE-OFFLINE'], message_zh: '网关离线', message_en: 'Edge box offline',
  });
  await page.says(rowOf(box), '看板收不到该处设备,请以床旁设备为准');
  await page.pass(1_000);
  await page.says(`.device-line[data-device="${county.monitor.device}"] .why`, '网关离线,请以床旁设备为准');
  county.change(box.id, { state: 'cleared_unack', condition: 'cleared_unack', cleared_at: make.at(county.ms) });
  await page.says(rowOf(box), '已恢复未确认');
  assert.ok(!(await page.text(rowOf(box))).includes('以床旁设备为准'));
});

/** In the page: which alerts' rows are put into the list from now on. */
function watchMoves() {
  window.__moved = [];
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
      window.__moved.push(...[...addedNodes].map((row) => row.dataset.alertId).filter(Boolean));
    }
  }).observe(document.querySelector('.alerts'), { childList: true });
}

test('a row that goes down goes alone, and one that has the focus keeps it', async () => {
  const page = await it.open();
  const { county } = it;
  const raised = [];
  for (let number = 0; number < 8; number += 1) {
    await page.pass(1000);
    raised.push(county.raise(county.monitor, 'high'));
  }
  const [first, second, ...others] = raised.map(({ id }) => id);
  await page.shows(rowOf(raised[7]));
  await page.run(watchMoves);
  const over = { state: 'cleared_unack', condition: 'cleared_unack' };
  county.change(first, over);
  await page.shows(`${rowOf(raised[0])}[data-state="cleared_unack"]`);
  assert.deepEqual(await page.rows(), [second, ...others, first]);
  assert.deepEqual(await page.run(() => window.__moved), [first]);

  await page.key('j');
  await page.pass(5_000);
  await page.shows(`${rowOf(raised[1])}:focus`);
  county.change(second, over);
  await page.until('the row is down', (id) => (
    [...document.querySelectorAll('.alerts [data-alert-id]')].pop().dataset.alertId === id), second);
  await page.shows(`${rowOf(raised[1])}:focus`);
});

test('fields that are shut are not in the page: a browser looks through all of them at each new one', async () => {
  const page = await it.open();
  const alert = it.county.raise(it.county.monitor, 'high');
  await page.shows(rowOf(alert));
  const fields = () => page.run(() => document.querySelectorAll('.alerts :is(input, select)').length);
  assert.equal(await fields(), 0);
  await page.click(`${rowOf(alert)} .ack`);
  await page.shows(`${rowOf(alert)} .note`);
  await page.key('Escape');
  await page.hides(`${rowOf(alert)} .panel`);
  assert.equal(await fields(), 0);
});

test('a limit has the unit of the value that crossed it, in the row and in the drawer', async () => {
  const page = await it.open();
  const alert = it.county.raise(it.county.monitor, 'high');
  await page.says(`${rowOf(alert)} .limit`, '预警限 < 85 %');
  await page.click(`${rowOf(alert)} .where`);
  await page.says('.drawer', '预警限 < 85 %');
});

test('results that a meter remembered came late: nobody says that a link was cut', async () => {
  const { county } = it;
  const ago = (hours) => new Date(county.ms - hours * 3_600_000).toISOString();
  county.sites[0].late = {
    from: ago(60), until: ago(1), judged: true, readings: 12, alerts: 0, left_out: 0, worst: [],
  };
  const page = await it.open();
  await page.says('.alerts', '的 12 条读数');
  const line = (await page.text('.alerts')).split('\n').find((one) => one.includes('12 条读数'));
  assert.ok(line.includes('补传') && !line.includes('断网'), line);
  assert.ok(line.endsWith('没有新预警'), line);
  // Of less than a minute nobody says that it was none; what there was is counted.
  const at = ago(1);
  county.sites[0].late = {
    from: at, until: at, judged: true, readings: 19, alerts: 2, left_out: 3, worst: [],
  };
  county.say('site', county.sites[0]);
  await page.pass(1_000);
  await page.says('.alerts', '补传 08:30 的 19 条读数,新预警 2 条,另有 3 次较轻');
});

test('what is shelved and holds is counted, called so, and says until when', async () => {
  const page = await it.open();
  const { county } = it;
  const shelved = (priority, condition) => county.raise(county.monitor, priority, {
    state: 'shelved', condition, shelved_by: 'li', shelf_reason: '正在吸痰',
    shelved_until: make.at(county.ms + 6 * 60_000),
  });
  shelved('high', 'active_unack');
  shelved('medium', 'cleared_unack');
  await page.says('.count[data-priority="high"]', '高 0/1 搁置1');
  assert.equal(await page.attribute('.count[data-priority="high"]', 'data-none'), null);
  // What no longer holds waits in the list alone.
  await page.says('.count[data-priority="medium"]', '中 0/0');
  assert.ok(!(await page.text('.count[data-priority="medium"]')).includes('搁置'));
  await page.click('.counters');
  await page.says('.counts', '高优先级:未确认 0,持续中 1,其中搁置 1(最早至 09:36)');
  await page.pass(1_000);
  await page.says('.tile-alert', '▲!!! 高 血氧过低 · 搁置至 09:36');
  county.raise(county.monitor, 'low');
  await page.pass(1_000);
  await page.says('.tile-alert', '●! 低 血氧过低 · 持续中 · 未确认 · 另有 搁置 高 1 中 1');
});
