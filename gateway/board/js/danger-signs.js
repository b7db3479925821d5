// Danger signs: asked at the lines of referral, told to the county, and what a referral says of them.

import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { shortTime, unitText, wordOf } from './format.js';
import { t } from './i18n.js';
import { metricName } from './metric-name.js';
import { holdsSinceMs } from './order.js';

/** The norm's own list. */
export const SIGNS = [
  'consciousness', 'headache', 'vomiting', 'blurred_vision', 'chest_pain', 'breathless_flat',
  'acetone_breath', 'deep_breathing', 'fast_heart', 'fever', 'pregnancy',
];

/** Whether somebody is still to ask. */
export function isToAsk({ asks_danger_signs: asks, danger_signs: told, state }) {
  return Boolean(asks) && !told && state !== 'closed';
}

/** What is known of them, or that nobody has asked. */
export function signsLine(alert) {
  if (isToAsk(alert)) return t('signs.to_ask');
  const { danger_signs: told } = alert;
  if (!told) return '';
  return told.length ? t('signs.there', { signs: signWords(told) }) : t('signs.none');
}

export function signWords(signs) {
  return signs.map((sign) => wordOf('sign', sign, t)).join(t('signs.and'));
}

/** What goes with somebody who is referred: values, signs, who asked and when. */
export function referral(alert) {
  const nowMs = clock.serverNow();
  const asked = [...(alert.timeline || [])].reverse().find(({ what }) => what === 'danger_signs');
  const moment = (ms) => shortTime(ms, nowMs);
  return t('signs.referral', {
    value: [metricName(alert.metric), alert.comparator, alert.value, unitText(alert.unit, t)]
      .filter(Boolean).join(' '),
    since: sinceText(alert, moment),
    signs: signWords(alert.danger_signs || []),
    by: asked?.by ?? '',
    at: asked ? moment(Date.parse(asked.at)) : '',
  });
}

/** Since when it is outside; what came again, also when it was so for the first time. */
function sinceText(alert, moment) {
  const firstMs = Date.parse(alert.started_at);
  const atMs = holdsSinceMs(alert);
  const at = moment(atMs);
  return atMs === firstMs ? t('signs.since', { at })
    : t('signs.since_again', { at, first: moment(firstMs) });
}

/** The form: any of these, or none of them; nothing is sent that nobody said. */
export class SignsForm {
  /** `send(body)` is called with the answer. */
  constructor(send) {
    this.boxes = SIGNS.map((sign) => {
      const input = h('input', { type: 'checkbox', 'data-sign': sign, onchange: () => this.shut() });
      const words = h('span');
      return { sign, input, words, label: h('label', { class: 'sign' }, input, words) };
    });
    this.yes = h('button', { class: 'primary', 'data-answer': 'yes' });
    this.no = h('button', {
      type: 'button', 'data-answer': 'none', onclick: () => send({ signs: [] }),
    });
    this.element = h('form', {
      class: 'deed',
      'data-deed': 'danger-signs',
      onsubmit: (event) => {
        event.preventDefault();
        send({ signs: this.chosen() });
      },
    }, h('div', { class: 'signs' }, ...this.boxes.map(({ label }) => label)),
    h('div', { class: 'deeds' }, this.yes, this.no));
  }

  chosen() {
    return this.boxes.filter(({ input }) => input.checked).map(({ sign }) => sign);
  }

  shut() {
    const any = this.chosen().length > 0;
    set(this.yes, 'disabled', this.disabled || !any);
    set(this.no, 'disabled', this.disabled || any);
  }

  draw(alert, disabled) {
    this.disabled = disabled;
    for (const { sign, words } of this.boxes) put(words, wordOf('sign', sign, t));
    put(this.yes, t('signs.yes'));
    put(this.no, t('signs.no'));
    this.shut();
  }

  focus() {
    this.boxes[0].input.focus();
  }

  clear() {
    for (const { input } of this.boxes) input.checked = false;
  }
}
