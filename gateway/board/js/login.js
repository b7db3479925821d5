// The log-in form, and that for a password of one's own.

import * as api from './api.js';
import { NAME_MAX, chosenName, nameBoard } from './board-name.js';
import { h, put } from './dom.js';
import { nextLanguage, t } from './i18n.js';
import { waitingOfOthers } from './offline.js';
import { Renewal } from './renewal.js';

/**
 * Draws the form into `root`; `done(user)` when somebody is logged in. `why`: why a board that stood
 * here is gone, where nobody left it.
 */
export function showLogin(root, done, why = null) {
  const mute = h('p', { class: 'banner mute-banner', role: 'alert', hidden: why === null });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const name = h('input', { id: 'name', autocomplete: 'username', required: true });
  const password = h('input', {
    id: 'password', type: 'password', autocomplete: 'current-password', required: true,
  });
  const button = h('button', { class: 'primary' });
  const heading = h('h1');
  const names = [h('label', { for: 'name' }), h('label', { for: 'password' })];
  // Asked for once at each computer.
  const board = h('input', { id: 'board-name', maxlength: NAME_MAX, autocomplete: 'off' });
  const boardWords = h('label', { for: 'board-name' });
  const naming = chosenName() ? [] : [boardWords, board];
  const footer = h('p', { class: 'quiet' });
  const waiting = waitingOfOthers();
  const offline = h('p', { class: 'offline-note', role: 'status', hidden: !waiting });
  const language = h('button', {
    type: 'button',
    onclick: () => {
      nextLanguage();
      words();
    },
  });
  function words() {
    put(heading, t('title'));
    put(mute, why === null ? '' : t(`login.mute.${why}`));
    put(names[0], t('login.name'));
    put(names[1], t('login.password'));
    put(boardWords, t('login.board'));
    put(button, t('login.button'));
    put(language, t('language.other'));
    put(footer, t('footer'));
    put(problem, '');
    put(offline, waiting ? t('offline.login', { n: waiting }) : '');
  }
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    put(problem, '');
    try {
      const user = await api.logIn(name.value, password.value);
      if (board.value.trim()) nameBoard(board.value);
      if (user.must_set_password) showNewPassword(root, password.value, done);
      else done(user);
    } catch (failure) {
      put(problem, t(`login.failed.${[401, 429].includes(failure.status) ? failure.status : 'other'}`));
      password.value = '';
      password.focus();
    }
    button.disabled = false;
  }
  words();
  const form = h('form', { class: 'login', onsubmit: submit },
    heading, offline, names[0], name, names[1], password, ...naming, problem, button, language,
    footer);
  root.replaceChildren(mute, form);
  name.focus();
  // What a mute desk says, and sounds, must not end with its page.
  if (why === null) new Renewal(form).start();
}

/** Somebody else knows the password: nothing is shown until there is another. */
function showNewPassword(root, old, done) {
  const field = (id) => h('input', {
    id, type: 'password', autocomplete: 'new-password', minlength: 8, maxlength: 256, required: true,
  });
  const [first, second] = [field('new-password'), field('new-password-again')];
  const problem = h('p', { class: 'problem', role: 'alert' });
  const button = h('button', { class: 'primary' }, t('password.button'));
  async function submit(event) {
    event.preventDefault();
    if (first.value !== second.value) {
      put(problem, t('password.differ'));
      return;
    }
    button.disabled = true;
    put(problem, '');
    try {
      await api.setPassword(old, first.value);
      done(await api.session());
    } catch (failure) {
      if (failure.status === 401) showLogin(root, done);
      put(problem, t(`password.failed.${failure.status === 400 ? 400 : 'other'}`));
    }
    button.disabled = false;
  }
  root.replaceChildren(h('form', { class: 'login', onsubmit: submit },
    h('h1', {}, t('password.title')), h('p', { class: 'quiet' }, t('password.why')),
    h('label', { for: 'new-password' }, t('password.new')), first,
    h('label', { for: 'new-password-again' }, t('password.again')), second,
    problem, button));
  first.focus();
}
