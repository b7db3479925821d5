// The rule set: what is live, its versions, what a draft would have raised, and approving it.

import * as api from '../api.js';
import * as clock from '../clock.js';
import { h } from '../dom.js';
import { wordOf } from '../format.js';
import { either, t } from '../i18n.js';
import {
  Page, field, form, table,
} from './page.js';
import { moment } from './words.js';
import { condition } from './rule-words.js';

/** How often a preview that is under way is asked for. */
const PREVIEW_EVERY_MS = 2_000;
const PREVIEW = '/rules/preview';
/** Who wrote what comes with the county service. */
const PROGRAM = 'program';

export class RulesPage extends Page {
  static get key() {
    return 'rules';
  }

  static get actions() {
    return ['preview_rules'];
  }

  fetch() {
    return api.ask('/rules');
  }

  fill() {
    const { live, rules, versions } = this.answer;
    this.body.replaceChildren(
      h('p', {}, t('rules.live', { version: live }), ' ', h('span', { class: 'quiet' }, rules.meta?.version || '')),
      this.may('edit_rules') ? this.drafter() : '',
      this.previewing ? this.underWay() : '',
      this.preview ? this.previewed(this.preview) : '',
      table(['version', 'author', 'made', 'note', 'approved', 'do'].map((name) => t(`rules.${name}`)),
        versions.map((version) => this.version(version)), t('rules.versions')),
      h('h3', {}, t('rules.all', { n: rules.rules.length })),
      table(['id', 'condition', 'priority', 'message', 'source'].map((name) => t(`rules.${name}`)),
        rules.rules.map((rule) => [
          h('code', {}, rule.id), condition(rule, t), wordOf('priority', rule.priority, t),
          either(rule.message_zh, rule.message_en), h('span', { class: 'quiet' }, rule.source ? wordOf('source', rule.source, t) : ''),
        ]), t('pages.rules')),
    );
  }

  version(one) {
    const approved = one.approved_by ? `${one.approved_by} ${moment(one.approved_at)}` : t('rules.draft');
    const path = `/rules/${one.version}`;
    const buttons = h('span', { class: 'buttons-row' });
    if (!one.live) {
      buttons.append(h('button', {
        class: 'preview',
        disabled: this.previewing,
        onclick: () => this.ask(one.version),
      }, t('rules.preview')));
    }
    if (!one.approved_by && this.may('approve_rules') && one.author !== this.user.name) {
      buttons.append(h('button', {
        class: 'primary',
        onclick: () => this.act(() => api.tell('POST', `${path}/approve`)),
      }, t('rules.approve')));
    }
    return [one.version, one.author === PROGRAM ? t('rules.shipped') : one.author, moment(one.created_at), one.note,
      one.live ? h('strong', {}, t('rules.is_live')) : approved, buttons];
  }

  drafter() {
    return h('details', {}, h('summary', {}, t('rules.new_draft')), form((element) => {
      const fields = new FormData(element);
      return this.act(async () => {
        const set = JSON.parse(fields.get('set'));
        await api.tell('PUT', `/rules?note=${encodeURIComponent(fields.get('note'))}`, set);
      });
    },
    h('p', { class: 'quiet' }, t('rules.draft_explain')),
    field(t('rules.file'), h('input', {
      type: 'file',
      accept: '.json',
      onchange: async (event) => {
        const { form: own, files } = event.target;
        if (files[0]) own.elements.set.value = await files[0].text();
      },
    })),
    field(t('rules.text'), h('textarea', { name: 'set', rows: 6, required: true, spellcheck: 'false' })),
    field(t('rules.note'), h('input', { name: 'note', maxlength: 500, required: true })),
    h('button', { class: 'primary' }, t('rules.keep'))));
  }

  /** What a version would have raised in the last 24 h; nothing of it is stored. */
  async ask(version) {
    this.previewing = true;
    this.preview = null;
    this.draw();
    await this.act(async () => {
      let told = await api.tell('POST', PREVIEW, { version });
      for (;;) {
        this.preview = { version, ...told };
        if (told.state !== 'running' || !this.element.isConnected) break;
        this.draw();
        await new Promise((resolve) => { clock.after(PREVIEW_EVERY_MS, resolve); });
        told = await api.ask(PREVIEW);
      }
    });
    this.previewing = false;
    this.draw();
  }

  underWay() {
    const { sites = 0, left_out: left = 0 } = this.preview || {};
    return h('p', { role: 'status' }, t('rules.preview.asking'), ' ',
      left ? t('rules.preview.standing', { n: sites, all: sites + left }) : '', ' ',
      h('button', { class: 'stop-preview', onclick: () => this.act(() => api.tell('DELETE', PREVIEW)) }, t('rules.preview.stop')));
  }

  previewed(told) {
    const counts = ({ alerts }) => [alerts.all, alerts.high, alerts.medium, alerts.low];
    const rate = (value) => (value === null ? '–' : value.toFixed(1));
    const line = (name, set) => [name, ...counts(set), rate(set.alerts_per_patient_day),
      set.by_rule.slice(0, 5).map((one) => `${one.rule} ${one.alerts}`).join(', ')];
    return h('section', { class: 'page-card', role: 'status' },
      h('h3', {}, t('rules.previewed', { version: told.version })),
      h('p', { class: 'preview-text' }, either(told.text_zh, told.text_en)),
      table(['set', 'all_alerts', 'high', 'medium', 'low', 'rate', 'most']
        .map((name) => t(`rules.preview.${name}`)), [
        line(t('rules.preview.asked'), told.asked), line(t('rules.preview.live'), told.live),
      ], t('rules.preview')),
      h('p', { class: 'quiet' }, t('rules.preview.of', {
        from: moment(told.from), to: moment(told.to), n: told.readings,
      }), told.left_out ? ` ${t('rules.preview.left_out', { n: told.left_out })}` : ''));
  }
}
