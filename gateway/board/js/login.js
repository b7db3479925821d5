// The log-in form.

import * as api from './api.js';
import { h, put } from './dom.js';
import { nextLanguage, t } from './i18n.js';

/** Draws the form into `root`; `done(user)` when somebody is logged in. */
export function showLogin(root, done) {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const name = h('input', { id: 'name', autocomplete: 'username', required: true });
  const password = h('input', {
    id: 'password', type: 'password', autocomplete: 'current-password', required: true,
  });
  const button = h('button', { class: 'primary' });
  const heading = h('h1');
  const names = [h('label', { for: 'name' }), h('label', { for: 'password' })];
  const footer = h('p', { class: 'quiet' });
  const language = h('button', {
    type: 'button',
    onclick: () => {
      nextLanguage();
      words();
    },
  });
  function words() {
    put(heading, t('title'));
    put(names[0], t('login.name'));
    put(names[1], t('login.password'));
    put(button, t('login.button'));
    put(language, t('language.other'));
    put(footer, t('footer'));
    put(problem, '');
  }
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    put(problem, '');
    try {
      done(await api.logIn(name.value, password.value));
    } catch (failure) {
      put(problem, t(`login.failed.${[401, 429].includes(failure.status) ? failure.status : 'other'}`));
      password.value = '';
      password.focus();
    }
    button.disabled = false;
  }
  words();
  const form = h('form', { class: 'login', onsubmit: submit },
    heading, names[0], name, names[1], password, problem, button, language, footer);
  root.replaceChildren(form);
  name.focus();
}
