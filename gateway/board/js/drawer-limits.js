// Limits: those that hold, those of this patient with author, reason and end, and setting one.

import * as api from './api.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { dateTime, unitText } from './format.js';
import { t } from './i18n.js';
import { metricName } from './metric-name.js';
import {
  between, filled, numberAt, putLine,
} from './number.js';
import { alsoText, together } from './pages/rule-words.js';
import { spreadOf } from './spread.js';
import { may, store } from './store.js';

const HOURS = [8, 24, 72, 168];
const REASON_MAX = 200;

export class Limits {
  /** `onChange(change)` runs a change and shows what it made of things; whether it was done. */
  constructor({ onChange }) {
    this.onChange = onChange;
    this.whole = null;
    this.heading = h('h3');
    this.own = h('ol', { class: 'own-limits' });
    this.offers = [];
    this.offerList = h('ul', { class: 'limit-offers' });
    this.all = h('ul', { class: 'limits' });
    this.summary = h('summary');
    this.rule = h('select', { id: 'limit-rule' });
    this.value = h('input', {
      id: 'limit-value', inputmode: 'decimal', maxlength: '8', required: true,
    });
    this.hours = h('select', { id: 'limit-hours' });
    this.reason = h('input', { id: 'limit-reason', maxlength: REASON_MAX, required: true });
    this.labels = ['rule', 'value', 'hours', 'reason'].map((name) => h('label', {
      for: `limit-${name}`,
    }));
    this.button = h('button', { class: 'primary' });
    this.form = h('form', { class: 'limit-form', onsubmit: (event) => this.submit(event) },
      this.labels[0], this.rule, this.labels[1], this.value, this.labels[2], this.hours,
      this.labels[3], this.reason, this.button);
    this.details = h('details', {}, this.summary, this.all, this.form);
    this.element = h('section', { class: 'drawer-limits' },
      this.heading, this.offerList, this.own, this.details);
  }

  clear() {
    this.whole = null;
    this.offers = [];
    this.offerList.replaceChildren();
    this.value.value = '';
    this.reason.value = '';
    this.own.replaceChildren();
    this.all.replaceChildren();
    this.rule.replaceChildren();
  }

  /** `offers`: limits that may not fit this patient; `trend`: what was measured lately. */
  show(whole, offers, trend) {
    Object.assign(this, { whole, offers, trend });
  }

  /** Three alike on which nobody acted: another limit is suggested, and a person sets it. */
  drawOffers() {
    arrange(this.offerList, this.offers.map(({ rules, alerts }, index) => {
      let line = this.offerList.children[index];
      if (!line) {
        const words = h('span');
        line = h('li', {}, words, h('button', { onclick: () => this.take(line.dataset.rule) }));
      }
      const [words, button] = line.children;
      const limit = this.whole.limits_in_force.find(({ rule }) => rules.includes(rule));
      set(line, 'data-rule', limit?.rule ?? rules[0]);
      putLine(words, between([
        [t('limits.offer', { n: alerts.length, what: limit ? limitText(limit) : rules.join(' ') })],
        limit ? this.spread(limit) : [],
      ], ' '));
      put(button, t('limits.adjust'));
      set(button, 'hidden', !limit || !may('set_limits'));
      return line;
    }));
  }

  /** How the values lay in the time that the trends show. */
  spread(limit) {
    const classOf = (metric) => store.catalogue.get(metric)?.class || '';
    const spread = spreadOf(this.trend, this.whole.patient, classOf, limit.class);
    if (!spread) return [];
    const [from, to] = [this.trend.from, this.trend.to].map((at) => dateTime(Date.parse(at)));
    const numbers = Object.entries(spread).map(([name, { text, metric, at }]) => (
      [name, [numberAt(text, metric, Date.parse(at))]]));
    return filled('limits.spread', Object.fromEntries(numbers), { from, to });
  }

  /** The form, with that limit chosen; the value is the person's. */
  take(rule) {
    this.details.open = true;
    this.rule.value = rule;
    this.value.focus();
  }

  async submit(event) {
    event.preventDefault();
    const until = new Date(clock.serverNow() + Number(this.hours.value) * 3_600_000).toISOString();
    const limit = {
      rule: this.rule.value, value: this.value.value.trim(), until, reason: this.reason.value.trim(),
    };
    set(this.button, 'disabled', true);
    if (await this.onChange(() => api.setLimit(this.whole.patient, limit))) {
      this.value.value = '';
      this.reason.value = '';
    }
    set(this.button, 'disabled', null);
  }

  draw() {
    set(this.element, 'hidden', !this.whole);
    if (!this.whole) return;
    put(this.heading, t('limits.heading'));
    this.drawOffers();
    put(this.summary, t('limits.all', { n: this.whole.limits_in_force.length }));
    const known = this.whole.limits_in_force;
    arrange(this.own, this.whole.limits.map((limit, index) => this.ownLimit(limit, index)));
    arrange(this.all, known.map((limit, index) => {
      const line = this.all.children[index] || h('li');
      put(line, limitText(limit));
      return line;
    }));
    const options = known.map((limit, index) => {
      const option = this.rule.children[index] || h('option');
      set(option, 'value', limit.rule);
      put(option, limitText(limit));
      return option;
    });
    arrange(this.rule, options);
    arrange(this.hours, HOURS.map((hours, index) => {
      const option = this.hours.children[index] || h('option', { value: hours });
      put(option, t('limits.hours', { n: hours }));
      return option;
    }));
    ['rule', 'value', 'until', 'reason'].forEach((name, index) => {
      put(this.labels[index], t(`limits.${name}`));
    });
    put(this.button, t('limits.set'));
    set(this.form, 'hidden', !may('set_limits'));
  }

  ownLimit(limit, index) {
    let line = this.own.children[index];
    if (!line) {
      const words = h('span');
      const button = h('button', {
        onclick: () => this.onChange(() => api.endLimit(this.whole.patient, button.dataset.id)),
      });
      line = h('li', {}, words, button);
    }
    const [words, button] = line.children;
    put(words, t('limits.own', {
      what: ownText(limit, this.whole.limits_in_force), by: limit.made_by, reason: limit.reason, until: dateTime(Date.parse(limit.until)),
    }));
    set(button, 'data-id', limit.id);
    put(button, t('limits.end'));
    set(button, 'hidden', !may('set_limits'));
    return line;
  }
}

/** A patient's own limit in words; the rule's name where it is off or not in force, and that nobody looks at it. */
export function ownText(limit, inForce) {
  const what = valueText(limit, inForce);
  return limit.applies ? what : t('limits.idle', { what });
}

function valueText(limit, inForce) {
  const rule = inForce.find((one) => one.rule === limit.rule);
  if (limit.off || !rule) return `${limit.rule} ${limit.off ? t('limits.off') : limit.value}`;
  return limitText({ ...rule, value: limit.value });
}

/** `高 · 心率 < 40 次/分`, and what has to be so besides. */
function limitText({ priority, also, ...limit }) {
  return [
    t(`priority.${priority}`), comparison(limit), ...(also ? [alsoText(comparison(also), also.within_s, t)] : []),
  ].join(' · ');
}

function comparison({ class: of, op, value }) {
  const facts = store.catalogue.get(of)
    || [...store.catalogue.values()].find((metric) => metric.class === of);
  const name = metricName(facts ? facts.metric : of);
  return `${name} ${together(op, value, unitText(facts?.canonical_unit, t))}`;
}
