// People, roles and tokens. One administrator makes somebody known, another gives the role.

import * as api from '../api.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import {
  Page, choice, field, form, table,
} from './page.js';
import { moment, roleName } from './words.js';

const ROLES = ['nurse', 'doctor', 'engineer', 'kiosk', 'system_admin', 'security_admin', 'audit_admin'];

export class PeoplePage extends Page {
  static get key() {
    return 'people';
  }

  static get actions() {
    return ['see_people'];
  }

  async fetch() {
    // An audit administrator sees no sites, and chooses no clinics.
    const [people, tokens, sites] = await Promise.all([
      api.ask('/people'), api.ask('/tokens'), this.may('manage_people') ? api.sites() : { sites: [] },
    ]);
    const clinics = [...new Set(sites.sites.map((site) => site.clinic).filter(Boolean))];
    return { ...people, ...tokens, clinics };
  }

  fill() {
    const { people, tokens } = this.answer;
    const columns = (...names) => names.map((name) => t(`people.${name}`));
    this.body.replaceChildren(
      this.may('add_people') ? this.adder() : '',
      table(columns('name', 'role', 'where', 'state', ...this.change('change')),
        people.map((person) => this.person(person)), t('pages.people')),
      h('h3', {}, t('people.tokens')),
      this.secret ? h('p', { class: 'notice' }, t('people.secret'), ' ', h('code', {}, this.secret)) : '',
      this.may('manage_people') ? this.issuer() : '',
      table(columns('program', 'role', 'where', 'used', ...this.change('change')),
        tokens.map((token) => this.token(token)), t('people.tokens')),
    );
  }

  /** A cell of the last column, which is there for who may change. */
  change(cell) {
    return this.may('manage_people') ? [cell] : [];
  }

  where(clinics) {
    return clinics === null ? t('people.county') : clinics.join(', ');
  }

  person(person) {
    const own = person.name === this.user.name;
    const able = person.role ? 'people.enabled' : 'people.no_role';
    return [
      person.name,
      h('span', {}, roleName(person.role), person.pending && !own
        ? this.pending(person.pending, `/people/${encodeURIComponent(person.name)}`) : '',
      person.pending_password && !own ? this.pendingPassword(person) : ''),
      person.role ? this.where(person.clinics) : '–',
      t(person.disabled ? 'people.disabled' : able),
      ...this.change(own ? '' : this.changer(person)),
    ];
  }

  /** Rights that wait for an administrator of another kind. */
  pending({ request, role, clinics, until }, path) {
    return h('span', { class: 'pending' },
      t('people.pending', { role: roleName(role), where: this.where(clinics), until: moment(until) }),
      this.may('confirm_rights') ? h('button', {
        class: 'primary',
        onclick: () => this.act(() => api.tell('POST', `${path}/confirm`, { request })),
      }, t('people.confirm')) : '');
  }

  /** A password in the place of a forgotten one. */
  pendingPassword({ name, pending_password: { request, asked_by: by, until } }) {
    const path = `/people/${encodeURIComponent(name)}/password/confirm`;
    return h('span', { class: 'pending' },
      t('people.password_pending', { by, until: moment(until) }),
      this.may('confirm_rights') && by !== this.user.name ? h('button', {
        class: 'primary',
        'data-do': 'confirm-password',
        onclick: () => this.act(() => api.tell('POST', path, { request })),
      }, t('people.confirm')) : '');
  }

  token(token) {
    const out = token.revoked_at && t('people.revoked', { at: moment(token.revoked_at) });
    const path = `/tokens/${encodeURIComponent(token.id)}`;
    const waits = !out && token.pending_until
      ? this.pending({ ...token, until: token.pending_until }, path) : '';
    return [
      token.name, h('span', {}, roleName(token.role), waits), this.where(token.clinics),
      out || moment(token.last_used_at),
      ...this.change(out ? '' : h('button', {
        onclick: () => this.act(() => api.tell('DELETE', path)),
      }, t('people.revoke'))),
    ];
  }

  adder() {
    return this.fold('add', {}, t('people.add'), form((element) => {
      const { name, password } = Object.fromEntries(new FormData(element));
      return this.act(() => api.tell('POST', '/people', { name: name.trim(), password }));
    },
    field(t('people.name'), h('input', { name: 'name', maxlength: 64, required: true })),
    field(t('login.password'), h('input', {
      name: 'password', type: 'password', required: true, autocomplete: 'new-password',
    })),
    h('button', { class: 'primary' }, t('people.add'))));
  }

  /** Role and clinics: of a person as they are, of a token none. */
  scopeFields({ role, clinics }) {
    const wide = clinics === undefined ? [] : clinics;
    return [
      field(t('people.role'), choice(ROLES.map((one) => [one, roleName(one)]), role, { name: 'role' })),
      h('fieldset', {}, h('legend', {}, t('people.where_explain')),
        ...this.answer.clinics.map((clinic) => h('label', {}, h('input', {
          type: 'checkbox', name: 'clinic', value: clinic, checked: (wide || []).includes(clinic),
        }), clinic))),
    ];
  }

  scopeOf(element) {
    const fields = new FormData(element);
    const clinics = fields.getAll('clinic');
    return { role: fields.get('role'), clinics: clinics.length ? clinics : null };
  }

  changer(person) {
    const path = `/people/${encodeURIComponent(person.name)}`;
    return this.fold(`person ${person.name}`, {}, t('people.change'),
      form((element) => this.act(() => api.tell('PATCH', path, this.scopeOf(element))),
        ...this.scopeFields(person), h('button', { class: 'primary' }, t('people.save')),
        h('button', {
          type: 'button',
          onclick: () => this.act(() => api.tell('PATCH', path, { disabled: !person.disabled })),
        }, t(person.disabled ? 'people.enable' : 'people.disable')),
        person.sessions ? h('button', {
          type: 'button',
          'data-do': 'end-sessions',
          onclick: () => this.act(() => api.tell('DELETE', `${path}/sessions`)),
        }, t('people.end_sessions', { n: person.sessions })) : ''),
      this.forgotten(path));
  }

  /** Somebody forgot their password: another administrator confirms the new one. */
  forgotten(path) {
    return form((element) => {
      const password = new FormData(element).get('password');
      return this.act(() => api.tell('POST', `${path}/password`, { password }));
    },
    h('p', { class: 'quiet' }, t('people.forgotten')),
    field(t('people.new_password'), h('input', {
      name: 'password', type: 'password', minlength: 8, maxlength: 256, required: true, autocomplete: 'new-password',
    })),
    h('button', { 'data-do': 'give-password' }, t('people.give_password')));
  }

  issuer() {
    return this.fold('issue', {}, t('people.issue'), form((element) => this.act(async () => {
      const name = new FormData(element).get('name').trim();
      const issued = await api.tell('POST', '/tokens', { name, ...this.scopeOf(element) });
      this.secret = issued.token;
    }),
    field(t('people.program'), h('input', { name: 'name', maxlength: 64, required: true })),
    ...this.scopeFields({ role: 'engineer' }),
    h('button', { class: 'primary' }, t('people.issue'))));
  }
}
