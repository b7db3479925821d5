// The small forms in a row: what one says to shelve an alert, hand it on, escalate or annotate it.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { ageText } from './format.js';
import { t } from './i18n.js';
import { store } from './store.js';

const WORDS_MAX = 500;
const REASON_MAX = 200;
const MINUTE_MS = 60_000;
/** The shelf's longest times are the county's; a request that travels must not go beyond them. */
const TRAVEL_MS = 5_000;
/** How long each may stand on the shelf, in minutes; high for more than 5 needs a second person. */
const SHELF_MINUTES = { high: [5, 10, 15], medium: [15, 30, 60, 120], low: [60, 240, 720, 1440] };
const ALONE_MINUTES = 5;
/** Fields in which somebody is chosen: the county knows who may. */
const PEOPLE = ['to', 'second'];

/** The fields of each; those with a star must be filled in. */
export const FORMS = {
  shelve: ['minutes', 'reason*', 'second'],
  assign: ['to*', 'reason*'],
  escalate: ['reason*'],
  note: ['note*'],
  // A form of its own.
  'danger-signs': [],
  'out-of-service': ['reason*'],
};

/** Reasons that are ready: one touch says why and sends it, as a word that others read in theirs. */
export const READY = {
  shelve: ['care', 'treated', 'retest', 'moved'],
  assign: ['nearer', 'occupied', 'shift_over', 'doctor_decides'],
  escalate: ['nobody_came', 'worse', 'hands', 'doctor_comes'],
};

export class Form {
  /**
   * `send(body)` is called when it is filled in and sent; `ask()` asks for `{ people }` who may be
   * named.
   */
  constructor(deed, send, ask) {
    Object.assign(this, { deed, ask });
    this.people = null;
    this.fields = FORMS[deed].map((name) => {
      const field = name.replace('*', '');
      const chosen = field === 'minutes' || PEOPLE.includes(field);
      const input = chosen ? h('select', { required: name.endsWith('*') })
        : h('input', {
          maxlength: field === 'reason' ? REASON_MAX : WORDS_MAX,
          autocomplete: 'off',
          required: name.endsWith('*'),
        });
      const words = h('span');
      set(input, 'data-field', field);
      return {
        field, input, words, label: h('label', {}, words, input),
      };
    });
    this.ready = (READY[deed] ?? []).map((code) => h('button', {
      type: 'button', class: 'reason', 'data-ready': code, onclick: () => this.say(code),
    }));
    const labels = this.fields.map(({ label }) => label);
    // Before the field for other words.
    const other = this.fields.findIndex(({ field }) => field === 'reason');
    if (this.ready.length) labels.splice(other, 0, h('div', { class: 'reasons' }, ...this.ready));
    this.submit = h('button', { class: 'primary' });
    this.element = h('form', {
      class: 'deed',
      'data-deed': deed,
      onsubmit: (event) => {
        event.preventDefault();
        send(this.body());
      },
    }, ...labels, this.submit);
  }

  /** Says why in words that are ready, and sends it unless something else is missing. */
  say(code) {
    this.input('reason').value = t(`deed.ready.${code}`);
    this.element.requestSubmit(this.submit);
  }

  /** A digit says what stands behind it. */
  key(digit) {
    this.ready[digit - 1]?.click();
  }

  input(field) {
    return this.fields.find((one) => one.field === field)?.input;
  }

  draw(alert, disabled) {
    for (const { field, words } of this.fields) put(words, t(`deed.${this.deed}.${field}`));
    this.ready.forEach((button, index) => {
      put(button, `${index + 1} ${t(`deed.ready.${READY[this.deed][index]}`)}`);
      set(button, 'disabled', disabled);
    });
    put(this.submit, t(`deed.${this.deed}.do`));
    set(this.submit, 'disabled', disabled);
    this.drawPeople();
    const minutes = this.input('minutes');
    if (!minutes) return;
    const choices = SHELF_MINUTES[alert.priority] ?? SHELF_MINUTES.low;
    arrange(minutes, choices.map((choice, index) => {
      const option = minutes.options[index] || h('option');
      set(option, 'value', choice);
      put(option, ageText(choice * MINUTE_MS, t, true));
      return option;
    }));
    const second = this.fields.find(({ field }) => field === 'second');
    const needed = alert.priority === 'high' && Number(minutes.value) > ALONE_MINUTES;
    set(second.label, 'hidden', !needed);
    set(second.input, 'required', needed);
  }

  /** Asks who may be named, each time: who is on duty changes. */
  async load() {
    const field = this.fields.find((one) => PEOPLE.includes(one.field));
    if (!field) return;
    try {
      ({ people: this.people } = await this.ask());
      this.none = 'nobody';
    } catch (failure) {
      this.none = 'failed';
    }
    this.drawPeople();
  }

  drawPeople() {
    const field = this.fields.find((one) => PEOPLE.includes(one.field));
    if (!field) return;
    const self = store.user?.name;
    // The second is somebody else.
    const people = (this.people ?? []).filter(({ name }) => field.field === 'to' || name !== self);
    const first = people.length ? 'choose' : this.none ?? 'loading';
    const words = people.map(({ name, role, on_duty: level }) => [
      name, t(`role.${role}`), level ? t(`level.${level}`) : '',
    ].filter(Boolean).join(' · '));
    const { options } = field.input;
    arrange(field.input, ['', ...people.map(({ name }) => name)].map((name, index) => {
      const option = [...options].find((one) => one.value === name) || h('option', { value: name });
      put(option, index ? words[index - 1] : t(`deed.people.${first}`));
      return option;
    }));
  }

  /** What is sent. */
  body() {
    const body = {};
    for (const { field, input } of this.fields) {
      const text = input.value.trim();
      if (field === 'minutes') {
        const until = clock.serverNow() + Number(text) * MINUTE_MS - TRAVEL_MS;
        body.until = new Date(until).toISOString();
      } else if (field === 'reason') body[field] = this.readyAs(text) ?? text;
      else if (text || field !== 'second') body[field] = text;
    }
    return body;
  }

  /** The word that is kept of a reason that is ready, such as `ready.nearer`. */
  readyAs(text) {
    const key = READY[this.deed]?.map((code) => `deed.ready.${code}`).find((one) => t(one) === text);
    return key?.slice('deed.'.length);
  }

  /** Where the next key is: a reason, unless somebody must be chosen before. */
  focus() {
    this.load();
    const [{ field, input }] = this.fields;
    if (this.ready.length && !PEOPLE.includes(field)) this.ready[0].focus();
    else input.focus();
  }

  clear() {
    for (const { field, input } of this.fields) if (field !== 'minutes') input.value = '';
  }
}
