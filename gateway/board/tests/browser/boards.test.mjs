// Boards among each other, what is done at which, and who may be handed an alert.

import assert from 'node:assert/strict';
import test from 'node:test';
import { problem } from './county.mjs';
import { at } from './fixtures.mjs';
import { morning } from './office.mjs';
import { rowOf, stand } from './stand.mjs';

const it = stand();

const other = (name, sound, fields = {}) => ({
  board: 'ab', name, sound, clinics: null, since: at(it.county.ms), ...fields,
});

/** The county knows other boards by now. */
function tell(boards, silent = []) {
  it.county.boards = { boards, clinics_without_sound: silent };
  it.county.say('boards', {});
}

/** What this board told last. */
const told = () => it.county.sounds[it.county.sounds.length - 1];

test('chapter 3: a board whose sound is taken away tells the county at once, and again and again', async () => {
  const page = await it.open();
  const { county } = it;
  const says = (sound) => page.wait(`the county hears ${sound}`, () => told()?.sound === sound);
  await says('off');
  assert.equal(told().name, 'li');
  await page.click('.sound-gate');
  await says('on');
  await page.run(() => window.__test.contexts[0].suspend());
  await says('blocked');
  const before = county.sounds.length;
  await page.pass(95_000);
  assert.ok(county.sounds.length - before >= 3);
  assert.equal(new Set(county.sounds.map(({ board }) => board)).size, 1);
  // The link was away: the newest state is told when it is back.
  county.cut();
  await page.run(() => window.__test.contexts[0].resume());
  await page.pass(30_000, { beats: false });
  county.mend();
  await page.pass(40_000);
  await says('on');
  const left = () => county.asked.some(({ method, url }) => (
    method === 'DELETE' && url === `/api/v1/boards/${told().board}`));
  assert.equal(left(), false);
  await page.click('.tools button:last-child');
  await page.wait('it takes its leave', left);
});

test('chapter 3: boards of the township without sound are named, and a township without any', async () => {
  const page = await it.open();
  await page.hides('.board-banner');
  await page.wait('it has told', () => told() !== undefined);
  tell([other('护士站1', 'blocked'), other('走廊', 'paused'), other('li', 'off', { board: told().board })]);
  await page.says('.board-banner', '看板 护士站1 无声音');
  assert.equal(await page.attribute('.board-banner', 'data-none'), null);
  assert.doesNotMatch(await page.text('.board-banner'), /走廊|li/);
  tell([other('护士站1', 'on')]);
  await page.hides('.board-banner');
  tell([], ['和平镇卫生院']);
  await page.says('.board-banner', '和平镇卫生院:没有一块看板能出声');
  await page.shows('.board-banner[data-none]');
  await page.key('l');
  await page.says('.board-banner', '和平镇卫生院: no board can be heard');
});

test('chapter 3: what the county could not say of the others is asked for again', async () => {
  const page = await it.open();
  const { county } = it;
  await page.wait('it has told', () => told() !== undefined);
  county.answer({
    method: 'GET', path: '/boards', once: true, status: 500, body: problem(500, 'Not now')[1],
  });
  tell([], ['和平镇卫生院']);
  await page.caughtUp();
  await page.hides('.board-banner');
  await page.pass(31_000);
  await page.says('.board-banner', '和平镇卫生院:没有一块看板能出声');
});

test('chapter 4: a board has a name, which stands in the story of what is done at it', async () => {
  const page = await it.open({ user: null, known: false });
  const { county } = it;
  for (const [css, text] of [['#name', 'li'], ['#password', 'right'], ['#board-name', '护士站1']]) {
    await page.click(css);
    await page.type(text);
  }
  await page.click('.login .primary');
  await page.shows('[data-knowledge="known"]');
  await page.wait('its name is told', () => told()?.name === '护士站1');
  const alert = county.raise(county.monitor, 'high');
  const row = rowOf(alert);
  await page.click(`${row} .ack`);
  await page.click(`${row} [data-reason="at_bedside"]`);
  await page.shows(`${row}[data-state="active_ack"]`);
  const [, acknowledged] = county.alerts.get(alert.id).timeline;
  assert.equal(acknowledged.board, '护士站1');
  await page.click(`${row} .more`);
  await page.says(`${row} .timeline`, 'li · 在 护士站1');
  // It is asked for once at each computer, and can be changed.
  await page.click('.tools button:last-child');
  await page.shows('#password');
  assert.equal(await page.run(() => document.querySelector('#board-name')), null);
});

test('chapter 4: an alert is handed to somebody of a list, who is on duty first', async () => {
  const page = await it.open();
  const { county } = it;
  county.able = [
    { name: 'wang', role: 'nurse', on_duty: 'first' }, { name: 'li', role: 'nurse', on_duty: null },
    { name: 'zhao', role: 'doctor', on_duty: null },
  ];
  const alert = county.raise(county.monitor, 'high');
  const row = rowOf(alert);
  await page.click(`${row} .more`);
  await page.click(`${row} [data-do="assign"]`);
  const choices = () => page.run((css) => (
    [...document.querySelectorAll(`${css} option`)].map((one) => one.innerText)
  ), `${row} [data-deed="assign"] [data-field="to"]`);
  await page.wait('the list is there', async () => (await choices()).length === 4);
  assert.deepEqual(await choices(), ['请选择', 'wang · 护士 · 当班人员', 'li · 护士', 'zhao · 医生']);
  // Without a name nothing is sent.
  await page.click(`${row} [data-deed="assign"] [data-ready="nearer"]`);
  assert.equal(county.alerts.get(alert.id).assigned_to, null);
  await page.run((css) => {
    document.querySelector(css).value = 'wang';
  }, `${row} [data-deed="assign"] [data-field="to"]`);
  await page.click(`${row} [data-deed="assign"] .primary`);
  await page.wait('it is handed on', () => county.alerts.get(alert.id).assigned_to === 'wang');
  // The second who agrees is not oneself.
  await page.click(`${row} [data-do="shelve"]`);
  const seconds = () => page.run((css) => (
    [...document.querySelectorAll(`${css} option`)].map((one) => one.value)
  ), `${row} [data-deed="shelve"] [data-field="second"]`);
  await page.wait('the list is there', async () => (await seconds()).length === 3);
  assert.deepEqual(await seconds(), ['', 'wang', 'zhao']);
});

test('a page that began anew by itself says truly whether it can be heard', async () => {
  const page = await it.open();
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  await page.run(() => sessionStorage.setItem('board.sound', 'on'));
  await page.send('Page.reload');
  await page.until('it is taken up', () => sessionStorage.getItem('board.sound') === null);
  // Whether the browser lets it sound again is the browser's; that nobody has turned it on is not so.
  await page.shows('[data-knowledge="known"]');
  await page.shows('[data-sound="on"], [data-sound="blocked"]');
});

test('where the county has another board the page begins anew by itself, under no hand, and says so', async () => {
  const { county } = it;
  const page = await it.open();
  await page.click('.sound-gate');
  await page.shows('[data-sound="on"]');
  await page.run(() => {
    window.isOld = true;
  });
  const isOld = () => page.run(() => window.isOld === true);
  const alert = county.raise(county.monitor, 'high', { state: 'active_ack', condition: 'active_ack' });
  const row = rowOf(alert);
  await page.click(`${row} .more`);
  await page.click(`${row} [data-do="note"]`);
  await page.shows(`${row} [data-deed="note"]`);
  county.board = 'two';
  county.say('hello', { server_time: at(county.ms), board: county.board });
  await page.pass(60_000);
  assert.equal(await isOld(), true, 'somebody writes a note');
  await page.key('Escape');
  await page.key('Escape');
  await page.pass(25_000);
  const { id } = county.raise(county.monitor, 'medium');
  county.change(id, { state: 'active_ack', condition: 'active_ack' });
  await page.pass(10_000);
  assert.equal(await isOld(), true, 'something began to sound just now');
  await page.pass(6_000);
  await page.wait('it is the new one', async () => !await isOld());
  // By the county's clock: that of the computer is 101 s behind.
  await page.says('.renewed-note', '09:31 看板程序已更新');
  await page.shows('[data-sound="on"], [data-sound="blocked"]');
  // It is there, and is not made anew again.
  await page.shows('[data-knowledge="known"]');
  await page.run(() => {
    window.isOld = true;
  });
  await page.pass(60_000);
  assert.equal(await isOld(), true);
  await page.pass(600_000);
  await page.hides('.renewed-note');
});

test('who forgot their password is given another, which a second administrator confirms', async () => {
  const { county } = it;
  morning(county, 'security_admin');
  const done = [];
  county.took['POST /people/zhao/password'] = ({ password }) => {
    done.push(password);
    county.pendingPassword = { request: 'b2', asked_by: 'li', until: at(county.ms + 86_400_000) };
    return [202, null];
  };
  county.took['POST /people/zhao/password/confirm'] = ({ request }) => {
    assert.equal(request, 'b2');
    county.pendingPassword = null;
    return [204, null];
  };
  county.took['DELETE /people/zhao/sessions'] = () => {
    done.push('ended');
    return [204, null];
  };
  const giver = await it.open({ known: false });
  const people = async (page) => {
    await page.run(() => {
      window.location.hash = 'people';
    });
    await page.shows('.page[data-page="people"] table');
  };
  await people(giver);
  const row = 'tbody tr:nth-child(2)';
  await giver.click(`${row} summary`);
  await giver.click(`${row} [data-do="end-sessions"]`);
  await giver.wait('they are logged out', () => done.length === 1);
  // The list is drawn anew, and what was open in it stays open.
  await giver.until('it is open', (css) => document.querySelector(css).open, `${row} details`);
  await giver.click(`${row} [name="password"]`);
  await giver.type('for the first day');
  await giver.click(`${row} [data-do="give-password"]`);
  await giver.says('.pending', 'li 给出的新密码等待确认');
  assert.deepEqual(done, ['ended', 'for the first day']);
  await giver.hides('[data-do="confirm-password"]');
  county.people.sun = 'audit_admin';
  const confirmer = await it.open({ user: 'sun', known: false });
  await people(confirmer);
  await confirmer.click('[data-do="confirm-password"]');
  await confirmer.hides('.pending');
});

/** In the page: marks it, so that another can be told from it. */
function mark() {
  window.isOld = true;
}
const isOld = (page) => page.run(() => window.isOld === true);

test('the page of an administrator begins anew where the county has another board, not under a half-filled form', async () => {
  const { county } = it;
  morning(county, 'security_admin');
  const page = await it.open({ known: false });
  await page.run(() => {
    window.location.hash = 'people';
  });
  await page.shows('.page[data-page="people"] table');
  await page.run(mark);
  county.board = 'two';
  const field = '.page[data-page="people"] .form input:not([type="checkbox"])';
  await page.run((css) => {
    document.querySelector(css).closest('details')?.setAttribute('open', '');
  }, field);
  await page.click(field);
  await page.type('zhou');
  await page.pass(300_000);
  assert.equal(await isOld(page), true, 'somebody writes');
  for (let letter = 0; letter < 4; letter += 1) await page.key('Backspace');
  assert.equal(await page.run((css) => document.querySelector(css).value, field), '');
  await page.pass(20_000);
  assert.equal(await isOld(page), true, 'somebody was at it just now');
  await page.pass(101_000);
  await page.wait('it is the new one', async () => !await isOld(page));
  await page.shows('.page[data-page="people"] table');
  await page.says('.renewed-note', '看板程序已更新');
  // Once for each program.
  await page.run(mark);
  await page.pass(180_000);
  assert.equal(await isOld(page), true);
});

test('a log-in form begins anew where the county has another board, not under a name half typed', async () => {
  const { county } = it;
  const page = await it.open({ user: null });
  await page.shows('#password');
  await page.run(mark);
  county.board = 'two';
  await page.click('#name');
  await page.type('l');
  await page.pass(180_000);
  assert.equal(await isOld(page), true, 'somebody types');
  await page.key('Backspace');
  await page.pass(121_000);
  await page.wait('it is the new one', async () => !await isOld(page));
  await page.shows('#password');
});

test('a desk that is mute goes on saying so also where the county has another board', async () => {
  const { county } = it;
  const page = await it.open();
  await page.run(mark);
  await page.pass(2_000);
  county.sessions.clear();
  county.board = 'two';
  await page.pass(300_000);
  await page.shows('.mute-banner');
  assert.equal(await isOld(page), true);
});

/** In the page: a screen that can be kept awake, and what is asked of it. */
function sleepless() {
  window.locks = [];
  Object.defineProperty(navigator, 'wakeLock', {
    value: {
      async request(kind) {
        if (window.refuses) throw new Error('the battery is low');
        const lock = { kind, released: false, async release() { lock.released = true; } };
        window.locks.push(lock);
        return lock;
      },
    },
  });
}
const locks = (page) => page.run(() => window.locks.map(({ kind, released }) => [kind, released]));

test('the screen of a board is kept awake, again when it is seen again, and not after the board is left', async () => {
  const { county } = it;
  county.people.wall = 'kiosk';
  const page = await it.open({ user: 'wall', before: sleepless });
  await page.wait('it is asked for', async () => (await locks(page)).length === 1);
  // A tab that is hidden loses it.
  await page.run(() => {
    window.locks[0].released = true;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await page.wait('it is taken again', async () => (await locks(page)).length === 2);
  // What the system took it gives back, when it does.
  await page.run(() => {
    window.locks[1].released = true;
    window.refuses = true;
  });
  await page.pass(60_000);
  await page.run(() => {
    window.refuses = false;
  });
  assert.equal((await locks(page)).length, 2);
  await page.pass(60_000);
  assert.deepEqual(await locks(page), [['screen', true], ['screen', true], ['screen', false]]);
  county.sessions.clear();
  await page.pass(60_000);
  await page.shows('.login');
  assert.deepEqual((await locks(page)).map(([, released]) => released), [true, true, true]);
});
