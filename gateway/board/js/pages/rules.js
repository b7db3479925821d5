// The rule set: what is live, its versions, what a draft would have raised, and approving it.

import * as api from '../api.js';
import * as clock from '../clock.js';
import { h, put, set } from '../dom.js';
import { wordOf } from '../format.js';
import { either, t } from '../i18n.js';
import { refusalText } from '../refusal.js';
import {
  Page, field, form, table,
} from './page.js';
import { moment } from './words.js';
import { condition, priorityText } from './rule-words.js';

/** How often a preview that is under way is asked for. */
const PREVIEW_EVERY_MS = 2_000;
const PREVIEW = '/rules/preview';
/** What the county says where a preview could not be made. */
const FAILED = 'preview_failed';
/** Who wrote what comes with the county service. */
const PROGRAM = 'program';

export class RulesPage extends Page {
  static get key() {
    return 'rules';
  }

  static get actions() {
    return ['preview_rules'];
  }

  constructor(options) {
    super(options);
    /** What the county said last of the preview that is under way, or of the last one. */
    this.preview = null;
    // Alone drawn anew while it is under way: in the rest somebody may be typing.
    this.standing = h('span');
    this.stop = h('button', { class: 'stop-preview', type: 'button', onclick: () => this.end() });
    this.under = h('p', { role: 'status' }, this.standing, ' ', this.stop);
    this.found = h('div');
    this.previews = h('div', { class: 'previews' }, this.under, this.found);
  }

  async fetch() {
    const [answer, told] = await Promise.all([
      api.ask('/rules'), this.may('edit_rules') && !this.watching ? lastPreview() : null,
    ]);
    if (told && !this.watching) this.watch(told);
    return answer;
  }

  fill() {
    const { live, rules, versions } = this.answer;
    const drugs = rules.meta?.critical_drugs;
    this.body.replaceChildren(
      h('p', {}, t('rules.live', { version: live }), ' ', h('span', { class: 'quiet' }, rules.meta?.version || '')),
      this.may('edit_rules') ? this.drafter() : '',
      this.previews,
      table(['version', 'author', 'made', 'note', 'approved', ...(this.acts() ? ['do'] : [])]
        .map((name) => t(`rules.${name}`)),
        versions.map((version) => this.version(version)), t('rules.versions')),
      h('h3', {}, t('rules.all', { n: rules.rules.length })),
      drugs ? h('p', {}, t('rules.critical_drugs', { drugs })) : '',
      table(['id', 'condition', 'priority', 'message', 'source'].map((name) => t(`rules.${name}`)),
        rules.rules.map((rule) => [
          h('code', {}, rule.id), inParts(condition(rule, t), '·'), inParts(priorityText(rule, t), '→'),
          either(rule.message_zh, rule.message_en), h('span', { class: 'quiet' }, rule.source ? wordOf('source', rule.source, t) : ''),
        ]), t('pages.rules')),
    );
    this.drawPreview();
  }

  /** Whether the person may do something with a version. */
  acts() {
    return this.may('edit_rules') || this.may('approve_rules');
  }

  version(one) {
    const approved = one.approved_by ? `${one.approved_by} ${moment(one.approved_at)}` : t('rules.draft');
    const path = `/rules/${one.version}`;
    const buttons = h('span', { class: 'buttons-row' });
    if (!one.live && this.may('edit_rules')) {
      buttons.append(h('button', {
        class: 'preview',
        onclick: () => this.ask(one.version),
      }, t('rules.preview')));
    }
    if (!one.live && !one.approved_by && this.may('approve_rules') && one.author !== this.user.name) {
      buttons.append(h('button', {
        class: 'primary',
        onclick: () => this.act(() => api.tell('POST', `${path}/approve`)),
      }, t('rules.approve')));
    }
    return [one.version, one.author === PROGRAM ? t('rules.shipped') : one.author, moment(one.created_at), one.note,
      one.live ? h('strong', {}, t('rules.is_live')) : approved,
      ...(this.acts() ? [buttons.children.length ? buttons : ''] : [])];
  }

  drafter() {
    return this.fold('draft', {}, t('rules.new_draft'), form((element) => {
      const fields = new FormData(element);
      // As it was written: what is told of its mistakes names its lines.
      return this.act(() => (
        api.tell('PUT', `/rules?note=${encodeURIComponent(fields.get('note'))}`, fields.get('set'))));
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
    this.watching = true;
    this.failed = null;
    this.head();
    this.preview = { state: 'running', version, asked_by: this.user.name };
    this.drawPreview();
    let told = null;
    try {
      told = await api.tell('POST', PREVIEW, { version });
    } catch (failure) {
      this.fail(failure);
      // Somebody else's is under way, or the answer was lost: the county knows.
      told = await lastPreview().catch(() => null);
    }
    await this.watch(told);
  }

  /** Shows what the county says of a preview, and asks on until it has ended. */
  async watch(told) {
    this.watching = true;
    this.preview = told;
    this.drawPreview();
    while (this.isUnderWay()) {
      await new Promise((resolve) => { clock.after(PREVIEW_EVERY_MS, resolve); });
      // Somebody turned to another page.
      if (!this.element.isConnected) break;
      try {
        this.preview = await lastPreview() || { state: 'gone' };
        this.unheard = null;
      } catch (failure) {
        if (failure.status === 401) {
          this.fail(failure);
          break;
        }
        // It goes on at the county.
        this.unheard = failure;
      }
      this.drawPreview();
    }
    this.watching = false;
  }

  async end() {
    set(this.stop, 'disabled', true);
    try {
      await api.tell('DELETE', PREVIEW);
    } catch (failure) {
      // It may have ended by itself.
      if (failure.status !== 404) this.fail(failure);
    }
    set(this.stop, 'disabled', null);
  }

  isUnderWay() {
    return this.preview?.state === 'running';
  }

  drawPreview() {
    const told = this.preview;
    for (const button of this.body.querySelectorAll('.preview')) set(button, 'disabled', this.isUnderWay());
    set(this.under, 'hidden', !this.isUnderWay());
    put(this.stop, t('rules.preview.stop'));
    if (this.isUnderWay()) put(this.standing, this.underWay(told));
    if (told?.text_zh) this.found.replaceChildren(this.previewed(told));
    else put(this.found, told ? failed(told) : '');
  }

  underWay({
    version, asked_by: by, sites = 0, left_out: left = 0,
  }) {
    return [
      t(version === null ? 'rules.preview.asking_unkept' : 'rules.preview.asking', { by, version }),
      left ? t('rules.preview.standing', { n: sites, all: sites + left }) : '',
      this.unheard ? this.words(this.unheard) : '',
    ].join(' ');
  }

  previewed(told) {
    const counts = ({ alerts }) => [alerts.all, alerts.high, alerts.medium, alerts.low];
    const rate = (value) => (value === null ? '–' : value.toFixed(1));
    const line = (name, set) => [name, ...counts(set), rate(set.alerts_per_patient_day),
      set.by_rule.slice(0, 5).map((one) => `${one.rule} ${one.alerts}`).join(', ')];
    return h('section', { class: 'page-card', role: 'status' },
      h('h3', {}, t(told.version === null ? 'rules.previewed_unkept' : 'rules.previewed', { version: told.version })),
      h('p', { class: 'preview-text' }, either(told.text_zh, told.text_en)),
      table(['set', 'all_alerts', 'high', 'medium', 'low', 'rate', 'most']
        .map((name) => t(`rules.preview.${name}`)), [
        line(t('rules.preview.asked'), told.asked), line(t('rules.preview.live'), told.live),
      ], t('rules.preview')),
      h('p', { class: 'quiet' }, t('rules.preview.of', {
        from: moment(told.from), to: moment(told.to), n: told.readings, by: told.asked_by,
      }), told.left_out && !this.isUnderWay() ? ` ${t('rules.preview.left_out', { n: told.left_out })}` : ''));
  }
}

/** A line ends behind the sign and not within a part, where that fits. */
function inParts(text, sign) {
  const parts = text.split(` ${sign} `);
  return h('span', {}, ...parts.flatMap((part, index) => (
    [h('span', { class: 'part' }, index < parts.length - 1 ? `${part}\u00a0${sign}` : part), ' '])));
}

/** The preview that is under way, or the last one; `null` where there is none. */
async function lastPreview() {
  try {
    return await api.ask(PREVIEW);
  } catch (failure) {
    if (failure.status === 404) return null;
    if (failure.problem.code === FAILED) return { state: 'failed', why: refusalText(failure) };
    throw failure;
  }
}

/** Of a preview that found nothing, why. */
function failed({ state, why }) {
  if (state === 'gone') return t('rules.preview.gone');
  return state === 'failed' ? t('rules.preview.failed', { why }) : '';
}
