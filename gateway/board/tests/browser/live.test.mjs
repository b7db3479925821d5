// Checks of a lost link and of the phone (nurse board, chapter 10), by number and name.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import * as make from './fixtures.mjs';
import { morning } from './office.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();

test('15. connection lost: banners, grey, no false acknowledging, and what was missed', async () => {
  const page = await it.open();
  const { county } = it;
  const row = rowOf(county.raise(county.monitor, 'high'));
  county.measure(county.monitor, 'hr', '72');
  await page.pass(5_000);
  county.cut();
  await page.pass(11_000, { beats: false });
  await page.says('.link-banner[data-link="slow"]', '连接不稳');
  await page.pass(10_000, { beats: false });
  await page.says('.link-banner[data-link="lost"]', '与县平台连接中断');
  // Whatever is old is grey: rows, numbers in the beds, counters.
  for (const old of [row, '.tile [data-metric="hr"]', '.counters']) {
    const greys = await page.run((css) => {
      const found = [];
      for (let one = document.querySelector(css); one; one = one.parentElement) {
        found.push(getComputedStyle(one).filter);
      }
      return found;
    }, old);
    assert.ok(greys.includes('grayscale(1)'), `${old}: ${greys}`);
  }
  await page.says(`${row} .ack`, '离线确认');

  // Nothing is sent or shown as done unless the person says: offline.
  await page.click(`${row} .ack`);
  // Alert rules, chapter 9, test 10.
  await page.says(`${row} .explain`, '不会停止床旁报警');
  const reason = `${row} [data-reason="at_bedside"]`;
  assert.equal(await page.attribute(reason, 'disabled'), '');
  await page.click(`${row} .consent`);
  await page.click(reason);
  await page.says(`${row} .ack`, '待发送');
  assert.equal(await page.attribute(row, 'data-state'), 'active_unack');

  const missed = county.raise(county.monitor, 'medium');
  county.mend();
  for (let tries = 0; tries < 12 && await page.attribute('.topbar', 'data-link') !== 'live';) {
    tries += 1;
    await page.pass(5_000);
  }
  await page.shows('.topbar[data-link="live"]');
  await page.hides('.link-banner');
  await page.shows(rowOf(missed));
  await page.says('.back-banner', '期间新增预警 1 条');
  await page.shows(`${row}[data-state="active_ack"]`);
});

test('15. connection lost: each banner comes at its limit, and not with the next second', async () => {
  const page = await it.open();
  await page.pass(5_000);
  it.county.cut();
  await page.pass(10_000, { beats: false });
  assert.equal(await page.attribute('.topbar', 'data-link'), 'live');
  await page.pass(2, { beats: false });
  assert.equal(await page.attribute('.topbar', 'data-link'), 'slow');
  await page.pass(9_998, { beats: false });
  assert.equal(await page.attribute('.topbar', 'data-link'), 'slow');
  await page.pass(2, { beats: false });
  assert.equal(await page.attribute('.topbar', 'data-link'), 'lost');
  await page.says('.link-banner[data-link="lost"]', '与县平台连接中断');
});

test('19. phone: nothing is cut off, the thumb reaches, the strip scrolls in its box', async () => {
  const page = await it.open({ size: [360, 740], mobile: true });
  const { county } = it;
  const row = rowOf(county.raise(county.monitor, 'high'));
  await page.run(() => {
    document.documentElement.style.fontSize = '200%';
  });
  await page.shows(row);
  const tile = '.tile[data-device="heping-monitor-01"]';
  await beats(county, page, tile);
  const wide = await page.run(() => document.scrollingElement.scrollWidth);
  assert.ok(wide <= 360, `the page is ${wide} px wide`);
  const { y, width, height } = await page.box('.thumb');
  assert.ok(height >= 44 && width >= 44 && y >= 370 && y + height <= 740, `${y} ${height}`);
  const paper = await page.run((css) => {
    const { scrollWidth, clientWidth } = document.querySelector(`${css} .paper`);
    return [scrollWidth, clientWidth];
  }, tile);
  assert.ok(paper[0] > paper[1] && paper[1] <= 360, String(paper));
  await page.click('.thumb');
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.shows(`${row}[data-state="active_ack"]`);
});

test('the top is one row on a desktop in English, also before the sound is on', async () => {
  const page = await it.open({ size: [1366, 768], language: 'en', known: false });
  const { county } = it;
  for (const priority of ['high', 'medium', 'low']) county.raise(county.monitor, priority);
  await page.says('.counters', 'Low 1/1');
  await page.says('.sound', 'Sound not enabled');
  const { height } = await page.box('.topbar');
  assert.ok(height < 60, `${height} px`);
});

for (const language of ['zh-CN', 'en']) {
  test(`the top is one row at 1366 px when much is to be told, ${language}`, async () => {
    const page = await it.open({ size: [1366, 768], language });
    const { county } = it;
    await page.click('.sound-gate');
    // Until the browser has turned it on there is nothing to pause, and the top says so at length.
    await page.shows('.sound[data-sound-state="on"]');
    const high = () => {
      const box = document.querySelector('.topbar').getBoundingClientRect();
      return box.height;
    };
    for (let n = 0; n < 10; n += 1) {
      for (const priority of ['high', 'medium', 'low']) county.raise(county.monitor, priority);
    }
    county.raise(county.oximeter, 'high');
    await page.says('.counters', '11/11');
    assert.ok(await page.run(high) < 60, 'alerts that wait');
    await page.key('m');
    await page.shows('.sound[data-sound-state="paused"]');
    assert.ok(await page.run(high) < 60, 'the pause of the sound');
    await page.click('.townships');
    await page.click('.townships-panel [data-town]');
    await page.shows('.townships[data-filtered]');
    await page.shows('.others');
    assert.ok(await page.run(high) < 60, 'a high alert that the filter hides');
    await page.pass(12_000, { beats: false });
    await page.shows('.topbar[data-link="slow"]');
    assert.ok(await page.run(high) < 60, 'a link that is slow');
  });
}

test('15. connection lost: an empty list is not said to be none', async () => {
  const page = await it.open();
  await page.says('.empty', '没有未处理的预警');
  it.county.cut();
  await page.pass(21_000, { beats: false });
  await page.says('.empty', '未能读取预警');
  assert.ok(!(await page.text('#alerts-heading')).includes('0'));
});

test('19. phone: a high alert stays in reach behind a page and behind the drawer', async () => {
  morning(it.county);
  const page = await it.open({ size: [360, 740], mobile: true });
  const { county } = it;
  for (const hash of ['#tray', '#devices', '']) {
    await page.run((one) => {
      window.location.hash = one;
    }, hash);
    if (!hash) await page.click('.tile .open');
    await page.shows(hash ? '.page-main .page' : '.drawer');
    const row = rowOf(county.raise(county.monitor, 'high'));
    await page.until('it is told', () => document.querySelector('[role="alert"].unseen')
      .closest('main') === null);
    await page.shows('.thumb');
    const { top, seen } = await page.run(() => {
      const box = document.querySelector('.count[data-priority="high"]').getBoundingClientRect();
      const at = document.elementFromPoint(box.x + 5, box.y + 5);
      return { top: box.y, seen: Boolean(at && at.closest('.count')) };
    });
    assert.ok(top >= 0 && seen, `${hash}: the counter is hidden`);
    await page.click('.thumb');
    await page.click(`${row} [data-reason="at_bedside"]`);
    await page.shows(`${row}[data-state="active_ack"]`);
  }
});

test('19. phone: counters, sound and link stay in sight while the page scrolls', async () => {
  const page = await it.open({ size: [360, 740], mobile: true });
  const { county } = it;
  for (let n = 0; n < 12; n += 1) county.raise(county.monitor, 'high');
  await page.until('all are there', () => document.querySelectorAll('.alert').length === 12);
  await page.run(() => window.scrollTo(0, document.scrollingElement.scrollHeight));
  const hidden = await page.run(() => [
    '.count[data-priority="high"]', '.count[data-priority="low"]', '.link', '.sound',
  ].filter((css) => {
    const { x, y } = document.querySelector(css).getBoundingClientRect();
    const at = y >= 0 && document.elementFromPoint(x + 3, y + 3);
    return !at || !at.closest(css);
  }));
  assert.deepEqual(hidden, []);
  const { height } = await page.box('.stay');
  assert.ok(height <= 120, `it takes ${height} px`);
});

test('19. phone: what one goes to lies below what stays in sight, and not under it', async () => {
  const page = await it.open({ size: [360, 740], mobile: true });
  const { county } = it;
  for (let index = 0; index < 6; index += 1) county.raise(county.monitor, 'medium');
  await page.until('the page is longer than the screen', () => (
    document.scrollingElement.scrollHeight > 2 * window.innerHeight));
  // The banner is right below the counters: scrolled up a little it is under them.
  const seen = () => page.run(() => {
    const { left, top, width, height } = document.querySelector('.sound-gate').getBoundingClientRect();
    return document.elementFromPoint(left + width / 2, top + height / 2)?.className;
  });
  await page.run(() => {
    const { top, height } = document.querySelector('.sound-gate').getBoundingClientRect();
    const stays = document.querySelector('.stay').getBoundingClientRect().height;
    window.scrollBy(0, top - (stays - height) / 2);
  });
  assert.notEqual(await seen(), 'sound-gate', 'the counters lie on it');
  await page.run(() => document.querySelector('.sound-gate').scrollIntoView({ block: 'nearest' }));
  assert.equal(await seen(), 'sound-gate');
});

test('19. phone: at twice the text two thirds of the screen are left for alerts and numbers', async () => {
  const { county } = it;
  const { first } = morning(county);
  const page = await it.open({ size: [360, 740], mobile: true, language: 'en' });
  for (const priority of ['high', 'medium', 'low']) county.raise(county.monitor, priority);
  await page.run(() => {
    document.documentElement.style.fontSize = '200%';
  });
  await page.says('.counters', 'Low 1/1');
  await page.shows('.thumb');
  const [bar, thumb] = [await page.box('.stay'), await page.box('.thumb')];
  assert.ok(bar.height + thumb.height <= 740 / 3, `${bar.height} and ${thumb.height} px`);
  const counters = await page.run(() => [...document.querySelectorAll('.counters .count')]
    .map((one) => one.getBoundingClientRect().y));
  assert.equal(new Set(counters).size, 1, 'the counters are one row');
  // Whose drawer it is stands in one line.
  await page.run((patient) => {
    window.location.hash = `#bed=${patient}`;
  }, first.patient);
  await page.says('.drawer-head h2', 'Bed 1');
  const lines = await page.run(() => {
    const head = document.querySelector('.drawer-head h2');
    return head.getBoundingClientRect().height / parseFloat(getComputedStyle(head).lineHeight);
  });
  assert.ok(lines < 3, `${lines} lines`);
});

test('19. phone: what the counters count is said at a touch', async () => {
  const page = await it.open({ size: [360, 740], mobile: true });
  const { county } = it;
  county.raise(county.monitor, 'high');
  county.raise(county.monitor, 'high', {
    state: 'active_ack', acknowledged_by: 'wang', acknowledged_at: make.at(county.ms), reason: 'at_bedside',
  });
  await page.says('.counters', '高 1/2');
  await page.hides('.counts');
  const { height } = await page.box('.counters');
  assert.ok(height >= 44, `${height} px`);
  for (let n = 0; n < 8; n += 1) county.raise(county.monitor, 'medium');
  await page.says('.counters', '中 8/8');
  // Wherever one has scrolled to.
  await page.run(() => window.scrollTo(0, document.scrollingElement.scrollHeight));
  await page.click('.counters');
  await page.says('.counts', '高优先级:未确认 1,持续中 2');
  const { y } = await page.box('.counts');
  assert.ok(y >= 0 && y < 200, `${y} px`);
  await page.key('Escape');
  await page.hides('.counts');
});

/** Acknowledges the rows while the cable is cut. */
async function acknowledgeOffline(page, rows, note = '') {
  for (const row of rows) await page.shows(row);
  it.county.cut();
  await page.pass(21_000, { beats: false });
  for (const row of rows) {
    await page.click(`${row} .ack`);
    await page.click(`${row} .consent`);
    if (note) {
      await page.click(`${row} .panel .note`);
      await page.type(note);
    }
    await page.click(`${row} [data-reason="at_bedside"]`);
    await page.says(`${row} .ack`, '待发送');
  }
}

/** The cable is mended. */
async function back(page) {
  it.county.mend();
  for (let tries = 0; tries < 12 && await page.attribute('.topbar', 'data-link') !== 'live';) {
    tries += 1;
    await page.pass(5_000);
  }
}

test('15. connection lost: what began meanwhile is listed until it is read, also what is over', async () => {
  const page = await it.open();
  const { county } = it;
  const before = county.raise(county.monitor, 'high', { metric: 'rr' });
  await page.shows(rowOf(before));
  await page.pass(5_000);
  county.cut();
  await page.pass(25_000, { beats: false });
  const over = county.raise(county.monitor, 'medium', { metric: 'hr' });
  await page.pass(30_000, { beats: false });
  county.change(over.id, { state: 'closed', condition: 'closed', cleared_at: make.at(county.ms) });
  const high = county.raise(county.oximeter, 'high');
  const silent = county.answer({
    method: 'GET', path: 'state=closed', status: 500, body: problem(500, 'Not now')[1],
  });
  await back(page);
  await page.says('.back-banner', '期间新增预警 1 条 · 高 1 · 未能读取期间已结束的预警');
  county.script.splice(county.script.indexOf(silent), 1);
  // It may have been asked a second time by now.
  await page.pass(10_000);
  await page.says('.back-banner', '期间新增预警 2 条 · 高 1 中 1');
  await page.hides('.missed');
  await page.click('.back-banner [aria-expanded="false"]');
  const lines = await page.run(() => [...document.querySelectorAll('.missed li')]
    .map(({ textContent }) => textContent));
  assert.equal(lines.length, 2);
  assert.match(lines[0], /高 未关联患者 血氧过低.*持续中 · 未确认/);
  assert.match(lines[1], /中 未关联患者 心率过快.*已结束/);
  // A third of the screen at most, and no alert under it.
  const { height } = await page.box('.missed');
  assert.ok(height < 768 / 3, `${height} px`);
  for (const alert of [before, high]) {
    const isSeen = await page.run((css) => {
      const { x, y } = document.querySelector(css).getBoundingClientRect();
      return Boolean(document.elementFromPoint(x + 20, y + 20)?.closest(css));
    }, rowOf(alert));
    assert.ok(isSeen, alert.message_zh);
  }
  // What comes later is no news of then; what becomes of one of then is.
  county.raise(county.monitor, 'high');
  county.change(high.id, { state: 'cleared_unack', condition: 'cleared_unack', cleared_at: make.at(county.ms) });
  await page.says('.missed li', '已恢复未确认');
  await page.pass(180_000);
  await page.says('.back-banner', '期间新增预警 2 条');
  await page.click('.back-banner button:not([aria-expanded])');
  await page.hides('.back-banner');
});

/** The lines of the list of what began meanwhile, from top to bottom. */
function missedLines(page) {
  return page.run(() => [...document.querySelectorAll('.missed li')]
    .map(({ textContent }) => textContent));
}

/** The cable is cut; `begin()` is what happens meanwhile; it is mended. */
async function away(page, begin) {
  it.county.cut();
  await page.pass(25_000, { beats: false });
  begin();
  await page.pass(5_000, { beats: false });
  await back(page);
  await page.shows('.back-banner button:not([aria-expanded])');
}

test('15. connection lost: what is over by the next time is not said to hold', async () => {
  const page = await it.open();
  const { county } = it;
  let alert;
  await away(page, () => {
    alert = county.raise(county.monitor, 'medium');
  });
  await page.click('.back-banner [aria-expanded="false"]');
  await page.says('.missed li', '持续中');
  // Of more than the county tells at once.
  await away(page, () => county.alerts.delete(alert.id));
  await page.says('.missed li', '已结束');
  const before = await missedLines(page);
  assert.match(before[0], /09:30 发生 · 已结束/);
  await page.pass(70_000);
  assert.deepEqual(await missedLines(page), before);
});

test('15. connection lost: of more than two hundred the more urgent are listed, also of the next time', async () => {
  const page = await it.open();
  const { county } = it;
  await away(page, () => {
    for (let n = 0; n < 3; n += 1) county.raise(county.monitor, 'low');
    for (let n = 0; n < 199; n += 1) county.raise(county.monitor, 'medium');
  });
  await page.says('.back-banner', '期间新增预警 200 条 · 中 199 低 1 · 还有更多,未全部列出');
  await away(page, () => county.raise(county.oximeter, 'high'));
  await page.says('.back-banner', '期间新增预警 200 条 · 高 1 中 199 · 还有更多,未全部列出');
  await page.click('.back-banner [aria-expanded="false"]');
  assert.match((await missedLines(page))[0], /高 .*血氧过低/);
});

test('15. connection lost: what came again or rose meanwhile is listed, however old it is', async () => {
  const page = await it.open();
  const { county } = it;
  const [again, risen, old] = ['medium', 'high', 'medium'].map((priority) => (
    county.raise(county.monitor, priority, { started_ms: county.ms - 9 * 3_600_000 })));
  await away(page, () => {
    const closed = { state: 'closed', condition: 'closed', cleared_at: make.at(county.ms) };
    for (const [{ id, timeline }, what] of [[again, 'recurred'], [risen, 'priority_rose'], [old, 'noted']]) {
      county.change(id, { ...closed, timeline: [...timeline, make.step(what, county.ms)] });
    }
  });
  await page.says('.back-banner', '期间新增预警 2 条 · 高 1 中 1');
});

test('15. connection lost: of other townships the urgent are listed and counted, and nothing set aside', async () => {
  const page = await it.open();
  const { county } = it;
  await page.key('f');
  await page.click('[data-town="和平镇卫生院"] input');
  await away(page, () => {
    county.raise(county.oximeter, 'medium');
    county.raise(county.oximeter, 'low');
    for (const state of ['suppressed', 'out_of_service']) county.raise(county.monitor, 'high', { state });
  });
  await page.says('.back-banner', '期间新增预警 1 条 · 中 1');
  await page.click('.back-banner [aria-expanded="false"]');
  const lines = await missedLines(page);
  assert.equal(lines.length, 1);
  assert.match(lines[0], / · 其他乡镇 · /);
  await page.click('.back-banner button:not([aria-expanded])');
  // What is not listed nobody has to read.
  await away(page, () => county.raise(county.oximeter, 'low'));
  await page.says('.back-banner', '期间新增预警 0 条');
  await page.pass(61_000);
  await page.hides('.back-banner');
});

for (const size of [[1366, 768], [360, 640]]) {
  test(`15. connection lost: forty that began meanwhile leave room for what holds, ${size[0]} px`, async () => {
    const page = await it.open({ size, mobile: size[0] < 500 });
    const { county } = it;
    await away(page, () => {
      for (let n = 0; n < 40; n += 1) county.raise(county.monitor, n ? 'medium' : 'high');
    });
    await page.click('.back-banner [aria-expanded="false"]');
    assert.equal((await missedLines(page)).length, 40);
    const { y, height } = await page.box('.missed');
    assert.ok(height <= size[1] / 3 + 1, `${height} px`);
    // It scrolls with the keys, and says what it is.
    const { scrolls, name, index } = await page.run(() => {
      const list = document.querySelector('.missed');
      return {
        scrolls: list.scrollHeight > list.clientHeight,
        name: list.getAttribute('aria-label'),
        index: list.tabIndex,
      };
    });
    assert.deepEqual([scrolls, name, index], [true, '中断期间新增的预警', 0]);
    // The first alert can be brought below it, and lies under nothing.
    assert.ok(y + height < size[1], `${y + height} px`);
    const row = rowOf([...county.alerts.values()][0]);
    const isSeen = await page.run((css) => {
      const element = document.querySelector(css);
      element.scrollIntoView({ block: 'center' });
      const { x, y: top } = element.getBoundingClientRect();
      return Boolean(document.elementFromPoint(x + 20, top + 20)?.closest(css));
    }, row);
    assert.ok(isSeen);
    // Whoever has read it goes on at the alerts.
    await page.run(() => window.scrollTo(0, 0));
    await page.click('.back-banner button:not([aria-expanded])');
    assert.equal(await page.run(() => document.activeElement.className), 'alerts');
  });
}

/** Somebody logs out. */
async function logOut(page) {
  await page.run(() => [...document.querySelectorAll('.tools button')].pop().click());
  await page.shows('#password');
  page.secret = null;
}

test('15. connection lost: what nobody has read outlives a log-out and a reload', async () => {
  it.county.patients = [];
  const page = await it.open();
  const { county } = it;
  await away(page, () => {
    county.raise(county.monitor, 'high');
    const over = county.raise(county.monitor, 'medium');
    county.change(over.id, { state: 'closed', condition: 'closed', cleared_at: make.at(county.ms) });
  });
  await page.says('.back-banner', '期间新增预警 2 条 · 高 1 中 1');
  const keeps = await page.run(() => localStorage.getItem('board.missed'));
  // When, and nothing else.
  assert.match(keeps, /^\{"lostAt":null,"gaps":\[\{"fromMs":\d+,"untilMs":\d+\}\]\}$/);
  await logOut(page);
  await logIn(page, 'wang');
  await page.says('.back-banner', '期间新增预警 2 条 · 高 1 中 1');
  await page.send('Page.reload', {});
  await page.says('.back-banner', '期间新增预警 2 条 · 高 1 中 1');
  await page.click('.back-banner button:not([aria-expanded])');
  await page.send('Page.reload', {});
  await page.shows('[data-knowledge="known"]');
  await page.hides('.back-banner');
});

test('15. connection lost: whose session ends meanwhile is told after the log-in', async () => {
  const page = await it.open();
  const { county } = it;
  county.cut();
  await page.pass(25_000, { beats: false });
  county.raise(county.monitor, 'high');
  county.sessions.delete(page.secret);
  county.mend();
  const isOut = () => page.run(() => document.querySelector('#password') !== null);
  for (let tries = 0; tries < 30 && !await isOut();) {
    tries += 1;
    await page.pass(1_000);
  }
  page.secret = null;
  await logIn(page, 'li');
  await page.says('.back-banner', '期间新增预警 1 条 · 高 1');
});

test('15. connection lost: a loss that a hidden tab did not see is told', async () => {
  const page = await it.open();
  const { county } = it;
  county.cut();
  county.ms += 25_000;
  await page.run((ms) => window.__test.rest(ms), 25_000);
  county.raise(county.monitor, 'high');
  // The browser connects again by itself.
  county.mend();
  await page.says('.back-banner', '期间新增预警 1 条 · 高 1');
});

test('14. stale number: a clock that is set back makes the last number of a device that stopped no fresh one', async () => {
  const { county } = it;
  const page = await it.open();
  county.measure(county.monitor, 'hr', '72');
  const hr = '.tile[data-device="heping-monitor-01"] .cell[data-cell="hr"]';
  await page.pass(1_000);
  await page.says(hr, '72');
  county.ms -= 10 * 60_000;
  await page.pass(40_000);
  // Everything is fetched anew, with the same last number.
  county.say('resync', { lagging: true });
  await page.pass(1_000);
  await page.says(hr, '--');
  assert.equal((await page.text(hr)).includes('72'), false);
  // A page that begins now does not know how old it is: it is doubted from the first second.
  const other = await it.open();
  await other.says(hr, '时间存疑');
  assert.equal(await other.attribute(`${hr} [data-metric]`, 'data-stale'), 'ageing');
  await other.pass(16_000);
  await other.says(hr, '--');
});

test('a computer s clock that is set right ahead makes no number older', async () => {
  const { county } = it;
  const cuff = make.device(make.HEPING, 'heping-bp-01', 'cuff', county.ms);
  county.devices.push(cuff);
  county.measure(cuff, 'nibp_sys', '128');
  county.measure(county.monitor, 'hr', '72');
  const page = await it.open();
  await page.pass(120_000);
  await page.run(() => window.__test.set(3_600_000));
  const nibp = '.tile[data-device="heping-bp-01"] [data-metric="nibp_sys"]';
  const fresh = async () => [await page.attribute(nibp, 'data-age-s'), await page.attribute(nibp, 'data-stale')];
  await page.pass(10_000);
  await page.shows('[data-link="live"]');
  assert.deepEqual(await fresh(), ['130', 'fresh']);
  // It is the same when everything is fetched anew.
  county.say('resync', { lagging: true });
  await page.pass(5_000);
  assert.deepEqual(await fresh(), ['135', 'fresh']);
  // What stopped is as old as before.
  assert.equal(await page.attribute('.tile[data-device="heping-monitor-01"]', 'data-hatched'), 'true');
});

test('15. connection lost: a county that was restored is believed, though its alerts went back', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  const gone = county.raise(county.oximeter, 'medium');
  county.change(alert.id, {
    state: 'active_ack', condition: 'active_ack', acknowledged_by: 'li', acknowledged_at: make.at(county.ms), reason: 'at_bedside', owner: 'li',
  });
  await page.shows(`${rowOf(alert)}[data-state="active_ack"]`);
  await page.shows(rowOf(gone));
  county.cut();
  await page.pass(25_000, { beats: false });
  county.alerts = new Map([[alert.id, alert]]);
  county.generation = '000000000000000b';
  await back(page);
  await page.shows(`${rowOf(alert)}[data-state="active_unack"]`);
  await page.hides(rowOf(gone));
});

test('15. connection lost: a clock of the county that is set back meanwhile hides nothing', async () => {
  const page = await it.open();
  const { county } = it;
  await away(page, () => {
    county.ms -= 3_600_000;
    county.raise(county.monitor, 'high');
  });
  await page.says('.back-banner', '期间新增预警 1 条 · 高 1');
});

test('15. connection lost: who leaves the board takes what it asks for along', async () => {
  const page = await it.open();
  const { county } = it;
  county.cut();
  await page.pass(25_000, { beats: false });
  county.answer({ method: 'GET', path: 'state=closed', status: 500, body: problem(500, 'Not now')[1] });
  await back(page);
  await page.says('.back-banner', '未能读取期间已结束的预警');
  await page.run(() => [...document.querySelectorAll('.tools button')].pop().click());
  await page.shows('#password');
  const asked = () => county.asked.filter(({ url }) => url.includes('state=closed')).length;
  const before = asked();
  await page.pass(20_000);
  assert.equal(asked(), before);
});

test('15. connection lost: that nothing began meanwhile is said for a minute', async () => {
  const page = await it.open();
  it.county.cut();
  await page.pass(25_000, { beats: false });
  await back(page);
  await page.says('.back-banner', '期间新增预警 0 条');
  await page.hides('.back-banner button[aria-expanded]');
  await page.pass(61_000);
  await page.hides('.back-banner');
});

test('15. connection lost: what is acknowledged goes out though its row is filtered away', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.oximeter, 'high');
  await acknowledgeOffline(page, [rowOf(alert)]);
  await page.key('f');
  await page.click('[data-town="和平镇卫生院"] input');
  await page.hides(rowOf(alert));
  await back(page);
  await page.wait('it is acknowledged', () => county.alerts.get(alert.id).state === 'active_ack');
});

test('15. connection lost: what is sent when it is back takes neither focus nor undo', async () => {
  const page = await it.open();
  const { county } = it;
  const [waits, first, other] = [1, 2, 3].map(() => county.raise(county.monitor, 'high'));
  await acknowledgeOffline(page, [rowOf(waits)]);
  const release = county.hold('POST', `${waits.id}/acknowledge`);
  await back(page);
  // The nurse has gone on: one is acknowledged and may be taken back, of another she writes a note.
  await page.click(`${rowOf(first)} .ack`);
  await page.click(`${rowOf(first)} [data-reason="at_bedside"]`);
  await page.shows(`${rowOf(first)}[data-state="active_ack"]`);
  await page.says('.undo', '已确认');
  const offered = await page.text('.undo span');
  await page.click(`${rowOf(other)} .ack`);
  await page.click(`${rowOf(other)} .panel .note`);
  await page.type('正在');
  release();
  await page.shows(`${rowOf(waits)}[data-state="active_ack"]`);
  await page.type('翻身');
  assert.equal(await page.run((css) => document.querySelector(css).value, `${rowOf(other)} .panel .note`),
    '正在翻身');
  assert.equal(await page.text('.undo span'), offered);
  await page.click('.undo button');
  await page.shows(`${rowOf(first)}[data-state="active_unack"]`);
  assert.equal(county.alerts.get(waits.id).state, 'active_ack');
});

test('15. connection lost: a PIN is not asked for over what somebody has open', async () => {
  const page = await it.open();
  const { county } = it;
  const [waits, other] = [1, 2].map(() => county.raise(county.monitor, 'high'));
  await acknowledgeOffline(page, [rowOf(waits)]);
  await page.click(`${rowOf(other)} .ack`);
  county.idle = true;
  await back(page);
  await page.click(`${rowOf(other)} .panel .note`);
  await page.wait('it was tried', () => county.asked.some(({ url }) => url.includes(`${waits.id}/acknowledge`)));
  await page.caughtUp();
  await page.shows(`${rowOf(other)} .panel .note`);
  assert.equal(await page.run(() => document.activeElement.className), 'note');
  await page.key('Escape');
  await page.pass(6_000);
  await page.says(`${rowOf(waits)} .panel`, 'li 的 PIN');
});

test('15. connection lost: what was acknowledged offline is taken back before it is sent', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  await acknowledgeOffline(page, [rowOf(alert)]);
  await page.says('.undo', '离线确认');
  await page.click('.undo button');
  await page.says(`${rowOf(alert)} .ack`, '离线确认');
  await page.hides('.offline-note');
  await back(page);
  await page.pass(6_000);
  assert.equal(county.alerts.get(alert.id).state, 'active_unack');
});

test('15. connection lost: who was away is asked once, and then all is sent', async () => {
  const page = await it.open();
  const { county } = it;
  const all = [1, 2, 3].map(() => county.raise(county.monitor, 'high'));
  const rows = all.map(rowOf);
  await acknowledgeOffline(page, rows);
  county.idle = true;
  await back(page);
  await page.says(`${rows[0]} .panel`, 'li 的 PIN');
  const asked = () => county.asked.filter(({ url }) => (
    all.some(({ id }) => url.includes(`${id}/acknowledge`)))).length;
  assert.equal(asked(), 1);
  await page.says(`${rows[1]} .ack`, '待发送');
  await page.click(`${rows[0]} input[type="password"]`);
  await page.type('2580');
  await page.key('Enter');
  for (const row of rows) await page.shows(`${row}[data-state="active_ack"]`);
  assert.equal(asked(), 4);
});

test('15. connection lost: nothing that waits is sent in the name of who comes next', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  await acknowledgeOffline(page, [rowOf(alert)]);
  county.answer({
    method: 'POST', path: '/acknowledge', once: true, status: 401, body: problem(401, 'Over')[1],
  });
  county.mend();
  const isOut = () => page.run(() => document.querySelector('#password') !== null);
  for (let tries = 0; tries < 30 && !await isOut();) {
    tries += 1;
    await page.pass(1_000);
  }
  await page.shows('#password');
  page.secret = null;
  await logIn(page, 'wang');
  await page.pass(10_000);
  assert.equal(county.alerts.get(alert.id).state, 'active_unack');
  await page.says('.offline-note', '他人的离线确认 1 条');
  // Who said it logs in again: now it is sent, with when it was said.
  await page.run(() => [...document.querySelectorAll('.tools button')].pop().click());
  await page.says('.login .offline-note', '离线确认 1 条未发送');
  page.secret = null;
  await logIn(page, 'li');
  await page.wait('it is acknowledged', () => county.alerts.get(alert.id).state === 'active_ack');
  assert.equal(county.alerts.get(alert.id).acknowledged_by, 'li');
  assert.ok(county.alerts.get(alert.id).timeline.some(({ note }) => note.includes('离线确认于')));
  await page.hides('.offline-note');
});

test('15. connection lost: nothing that waits is sent by a session that is another\'s by now', async () => {
  const page = await it.open();
  const { county } = it;
  const alert = county.raise(county.monitor, 'high');
  await acknowledgeOffline(page, [rowOf(alert)]);
  county.sessions.set(page.secret, 'wang');
  // The browser connects again by itself, before the board looks after its stream.
  county.mend();
  await page.shows('#password');
  assert.equal(county.alerts.get(alert.id).state, 'active_unack');
});

test('15. connection lost: what waits outlives a reload, and what cannot be sent is said', async () => {
  it.county.patients = [];
  const page = await it.open();
  const { county } = it;
  const [sent, taken, worse] = [1, 2, 3].map((n) => (
    county.raise(county.monitor, n === 3 ? 'medium' : 'high')));
  await acknowledgeOffline(page, [sent, taken, worse].map(rowOf), '2');
  await page.says('.offline-note', '离线确认 3 条待发送');
  const kept = await page.run(() => JSON.stringify({ ...localStorage }));
  assert.ok(kept.includes(sent.id) && !kept.includes('张'), kept);
  // Meanwhile at the county.
  county.alerts.set(taken.id, {
    ...taken, state: 'active_ack', condition: 'active_ack', acknowledged_by: 'wang',
    acknowledged_at: taken.started_at, reason: 'at_bedside', owner: 'wang', revision: 2,
  });
  county.alerts.set(worse.id, { ...worse, priority: 'high', revision: 2 });
  county.mend();
  await page.send('Page.reload', {});
  await page.wait('it is acknowledged', () => county.alerts.get(sent.id).state === 'active_ack');
  assert.ok(county.alerts.get(sent.id).timeline.some(({ note }) => note.includes('备注因刷新丢失')));
  await page.says('.offline-note', 'wang 已先确认');
  await page.says('.offline-note', '优先级已升高');
  assert.equal(county.alerts.get(worse.id).state, 'active_unack');
  await page.click('.offline-note button');
  await page.hides('.offline-note');
  assert.equal(await page.run(() => Object.keys(localStorage).join().includes('offline')), false);
});

/** Somebody logs in where the form is. */
async function logIn(page, name) {
  for (const [css, text] of [['#name', name], ['#password', 'right']]) {
    await page.click(css);
    await page.type(text);
  }
  await page.click('.login .primary');
  await page.says('.user', name);
}

test('a board whose session is somebody else\'s by now shows nothing', async () => {
  for (const how of ['in time', 'when it is seen']) {
    const page = await it.open();
    await page.says('.user', 'li');
    // The other tab has logged in as wang, with the same cookie.
    it.county.sessions.set(page.secret, 'wang');
    if (how === 'in time') await page.pass(70_000);
    else await page.run(() => document.dispatchEvent(new Event('visibilitychange')));
    await page.shows('#password');
    await page.hides('.topbar');
    await page.close();
  }
});

test('a board that begins before the county says so and tries again', async () => {
  const { county } = it;
  const rule = county.answer({
    method: 'GET', path: '/session', status: 500, body: problem(500, 'Not yet')[1],
  });
  const page = await it.open({ known: false });
  await page.says('#waiting', '县平台没有应答');
  await page.hides('#password');
  county.script.splice(county.script.indexOf(rule), 1);
  await page.pass(5_000);
  await page.shows('.topbar');
  await page.hides('#waiting');
});

/** Eight seconds of a square wave. */
async function beats(county, page, tile) {
  const samples = Array.from({ length: 250 }, (_, index) => (index < 125 ? 0 : 1000));
  for (let second = 0; second < 8; second += 1) {
    county.wave(county.monitor, [make.block(county.monitor, samples, county.ms - 1000)]);
    await page.pass(1000);
  }
  await page.shows(`${tile} .strip[data-live="live"]`);
}

test('alerts that come together are heard at once and drawn in one frame; what grows older waits for its own', async () => {
  const page = await it.open();
  const { county } = it;
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  await page.pass(15_000);
  await page.run(() => {
    window.frames_ = [];
    window.__clinicClock.requestAnimationFrame = (run) => window.frames_.push(run);
    window.drawn = 0;
    new MutationObserver((changes) => {
      const others = changes.filter(({ attributeName }) => !attributeName?.startsWith('data-dark'));
      window.drawn += others.length;
    }).observe(document.querySelector('main'), {
      subtree: true, childList: true, characterData: true, attributes: true,
    });
  });
  const drawn = () => page.run(() => window.drawn);
  const frame = () => page.run(() => {
    for (const run of window.frames_.splice(0)) run();
  });
  const sounds = await page.run(() => window.__test.sounds.length);
  const three = ['high', 'medium', 'low'].map((priority) => county.raise(county.monitor, priority));
  await page.caughtUp();
  assert.equal(await page.run(() => window.__test.sounds.length), sounds + 1);
  assert.deepEqual([await page.rows(), await drawn()], [[], 0]);
  await frame();
  assert.deepEqual(await page.rows(), three.map(({ id }) => id));
  // Nothing is written between two frames, or it is laid out for whoever turns the wheel, and anew.
  while (await page.run(() => window.frames_.length)) await frame();
  const before = await drawn();
  await page.pass(1_000);
  assert.equal(await drawn(), before);
  while (await page.run(() => window.frames_.length)) await frame();
  assert.ok(await drawn() > before);
});
