// What is somebody's own, behind their name: the PIN that says it is still they, and the password.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import { serious } from './eyes.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();
const form = (what) => `.own-form[data-own="${what}"]`;

/** Types into the three fields of a form, from the first on. */
async function fill(page, what, ...texts) {
  for (const [index, text] of texts.entries()) {
    await page.click(`#own-${what}-${['old', 'first', 'second'][index]}`);
    await page.type(text);
  }
}

test('who has no PIN sets one behind their name, and acknowledges with it', async () => {
  const { county } = it;
  county.pin = null;
  const page = await it.open();
  await page.click('button.user');
  await page.says(form('pin'), '还没有 PIN');
  await page.hides('.own-none');
  await fill(page, 'pin', 'wrong', '4711', '4712');
  await page.key('Enter');
  await page.says(`${form('pin')} .own-said`, '两次输入不一致');
  assert.equal(county.asked.some(({ url }) => url.endsWith('/session/pin')), false);
  await page.key('Escape');
  await page.hides('.own-panel');
  await page.click('button.user');
  // What was typed is not there any more.
  assert.equal(await page.run(() => document.getElementById('own-pin-old').value), '');
  await fill(page, 'pin', 'wrong', '4711', '4711');
  await page.key('Enter');
  await page.says(`${form('pin')} .own-said`, '密码不对');
  assert.equal(county.pin, null);
  await fill(page, 'pin', 'right');
  await page.click(`${form('pin')} .primary`);
  await page.says(`${form('pin')} .own-said`, 'PIN 已设置');
  await page.shows('.own-none');
  await page.click('button.user');
  await page.hides('.own-panel');

  const row = rowOf(county.raise(county.monitor, 'high'));
  county.idle = true;
  await page.click(`${row} .ack`);
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.says(`${row} .panel`, 'li 的 PIN');
  await page.click(`${row} input[type="password"]`);
  await page.type('4711');
  await page.key('Enter');
  await page.shows(`${row}[data-state="active_ack"]`);
  assert.deepEqual(county.asked.filter(({ url }) => url.endsWith('/confirm')).map(({ body }) => body), [{ pin: '4711' }]);
});

test('a PIN is taken away: from then on it is the password', async () => {
  const { county } = it;
  const page = await it.open();
  await page.click('button.user');
  await fill(page, 'pin', 'right');
  await page.click('.own-none');
  await page.says(`${form('pin')} .own-said`, 'PIN 已取消');
  assert.equal(county.pin, null);
  const row = rowOf(county.raise(county.monitor, 'high'));
  county.idle = true;
  await page.click(`${row} .ack`);
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.says(`${row} .panel`, 'li 的密码');
});

for (const [user, role] of [['li', 'nurse'], ['sun', 'system_admin']]) {
  test(`a ${role} sets another password of their own`, async () => {
    const { county } = it;
    county.people[user] = role;
    county.more = { '/people': () => ({ people: [] }), '/tokens': () => ({ tokens: [] }) };
    const page = await it.open({ user, known: role === 'nurse' });
    await page.click('button.user');
    await fill(page, 'password', 'right', 'another one', 'another one');
    await page.click(`${form('password')} .primary`);
    await page.says(`${form('password')} .own-said`, '密码已设置');
    assert.equal(county.password, 'another one');
    if (role !== 'nurse') await page.hides(form('pin'));
    assert.deepEqual(await serious(page), []);
  });
}

test('a board on a wall has nothing of its own', async () => {
  const { county } = it;
  county.people.wall = 'kiosk';
  const page = await it.open({ user: 'wall' });
  await page.says('.user', 'wall');
  await page.hides('button.user');
  await page.hides('.own-panel');
});

test('after too many wrong passwords the log-in is there and nothing else', async () => {
  const { county } = it;
  const page = await it.open();
  county.answer({
    method: 'POST', path: '/session/pin', once: true, status: 401,
    body: problem(401, 'Too many', { code: 'too_many_proofs' })[1],
  });
  await page.click('button.user');
  await fill(page, 'pin', 'wrong', '4711', '4711');
  await page.key('Enter');
  await page.shows('.login');
});

test('a PIN that was taken away at another board is asked for no more', async () => {
  const { county } = it;
  const page = await it.open();
  const row = rowOf(county.raise(county.monitor, 'high'));
  await page.shows(row);
  county.pin = null;
  await page.pass(65_000);
  county.idle = true;
  await page.click(`${row} .ack`);
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.says(`${row} .panel`, 'li 的密码');
});

test('Esc shuts the panel of what is somebody\'s own, and nothing that is open behind it', async () => {
  const { county } = it;
  const page = await it.open();
  const row = rowOf(county.raise(county.monitor, 'high'));
  await page.click(`${row} .ack`);
  await page.shows(`${row} .panel`);
  await page.click('button.user');
  await page.shows('#own-pin-old:focus');
  await page.key('Escape');
  await page.hides('.own-panel');
  await page.shows('button.user:focus');
  await page.shows(`${row} .panel`);
});

test('half an hour before a session ends it is said, and the password goes on with it in place', async () => {
  const { county } = it;
  county.endsMs = county.ms + 31 * 60_000;
  const page = await it.open();
  await page.pass(1_000);
  await page.hides('.session-banner');
  await page.pass(60_000);
  await page.says('.session-banner', '登录将在 29:59 后到期');
  await page.says('.session-banner', 'li 的密码');
  const goOn = async (password) => {
    await page.click('#session-password');
    await page.type(password);
    await page.key('Enter');
  };
  await goOn('wrong');
  await page.says('.session-banner', '登录名或密码不对');
  await goOn('right');
  await page.hides('.session-banner');
  assert.deepEqual(county.asked.filter(({ method, url }) => method === 'POST' && url === '/api/v1/session')
    .map(({ body }) => body.name), ['li', 'li']);
  // The board stood there all the time, and goes on.
  await page.pass(60_000);
  await page.shows('[data-knowledge="known"]');
  await page.hides('.session-banner');
});

test('a screen reader is told of the end of a session at its begin and some moments, not each second', async () => {
  const { county } = it;
  county.endsMs = county.ms + 31 * 60_000;
  const page = await it.open();
  await page.run(() => {
    window.told = [];
    new MutationObserver((changes) => {
      const regions = changes.map(({ target }) => (
        (target.nodeType === Node.TEXT_NODE ? target.parentElement : target)?.closest('[role="status"], [role="alert"]')));
      for (const region of new Set(regions)) {
        if (region?.textContent.includes('登录将在')) window.told.push(region.textContent.match(/在 (.*) 后/)[1]);
      }
    }).observe(document.querySelector('.top'), { subtree: true, childList: true, characterData: true });
  });
  for (let minute = 0; minute < 30; minute += 1) await page.pass(60_000);
  await page.pass(30_000);
  await page.says('.session-banner', '登录将在 0:30 后到期');
  assert.deepEqual(await page.run(() => window.told), ['30 分钟', '10 分钟', '5 分钟', '1 分钟']);
});
