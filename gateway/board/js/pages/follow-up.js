// Follow-up: who was out of target at visits in a row. It never makes a sound.

import * as api from '../api.js';
import * as clock from '../clock.js';
import { giveWay, h, put } from '../dom.js';
import { REVEALED_MS } from '../drawer-head.js';
import { wordOf } from '../format.js';
import { either, t } from '../i18n.js';
import { putLine } from '../number.js';
import { aboutText } from '../who.js';
import { Page, choice, field, table } from './page.js';
import { dayOf, resultPieces, whoText } from './words.js';

const PROGRAMMES = ['hypertension', 'diabetes'];
const GROUPS = ['elderly', 'child', 'pregnant'];

export class FollowUpPage extends Page {
  constructor(options) {
    super(options);
    this.wanted = { programme: '', group: '' };
    /** Patient → whole name, for as long as it is shown. */
    this.revealed = new Map();
  }

  static get key() {
    return 'followup';
  }

  static get prints() {
    return true;
  }

  static get actions() {
    return ['see_readings'];
  }

  fetch() {
    return api.ask('/followup', this.wanted);
  }

  fill() {
    const { people, once, targets, target_set: version } = this.answer;
    const all = [...people, ...once];
    /** What draws the name of each row. */
    this.names = [];
    this.body.replaceChildren(
      h('div', { class: 'filters' },
        this.filter('programme', PROGRAMMES), this.filter('group', GROUPS)),
      h('p', { class: 'quiet' }, t('followup.explain', { version })),
      all.length ? table(
        ['who', 'clinic', 'programme', 'since', 'refer_by', 'visits'].map((name) => t(`followup.${name}`)),
        all.map((person) => ({
          cells: this.person(person, targets), target: person.since ? 'refer' : 'missed',
        })),
        t('pages.followup'),
      ) : h('p', { class: 'empty' }, t('followup.none')),
    );
  }

  filter(name, values) {
    const options = [['', t('followup.all')], ...values.map((value) => [value, t(`${name}.${value}`)])];
    return field(t(`followup.${name}`), choice(options, this.wanted[name], {
      onchange: (event) => {
        this.wanted = { ...this.wanted, [name]: event.target.value };
        event.target.blur();
        this.load();
      },
    }));
  }

  /** Many have one masked name, and who comes to be measured has no tile: age and sex stand with it. */
  who(person) {
    const { patient } = person;
    const name = h('span', { tabindex: '-1' });
    const reveal = h('button', { class: 'reveal', onclick: () => this.unmask(patient) }, t('drawer.reveal'));
    const draw = () => {
      const whole = this.revealed.get(patient);
      put(name, whoText({ patient, name: whole ?? person.name }));
      giveWay(reveal, !person.name || Boolean(whole) || !this.may('see_names'), name);
    };
    draw();
    this.names.push(draw);
    return h('span', {}, name, ' ', h('span', { class: 'quiet' }, aboutText(person)), ' ', reveal);
  }

  /** The whole name, for half a minute; the audit knows of it. */
  async unmask(patient) {
    const draw = () => this.names.forEach((one) => one());
    try {
      const { name } = await api.unmask(patient);
      this.revealed.set(patient, name);
      clock.after(REVEALED_MS, () => {
        this.revealed.delete(patient);
        draw();
      });
      draw();
    } catch (failure) {
      this.fail(failure);
    }
  }

  person(person, targets) {
    const groups = person.groups.map((group) => wordOf('group', group, t)).join(' ');
    const missed = (rule) => {
      const target = targets.find((one) => one.rule === rule);
      return target ? either(target.message_zh, target.message_en) : rule;
    };
    return [
      this.who(person),
      person.clinic,
      [person.programme && wordOf('programme', person.programme, t), groups].filter(Boolean).join(' · '),
      dayOf(person.since),
      h('span', { class: person.overdue ? 'overdue' : '' }, referral(person)),
      h('ul', { class: 'visits' }, ...person.visits.map((visit) => h('li', {},
        `${visit.day} `, putLine(h('span'), resultPieces(visit.readings)),
        h('span', { class: 'quiet' }, ` ${visit.missed.map(missed).join('; ')}`)))),
    ];
  }
}

/** Until when somebody is to be referred; of whom that is not yet, why the row has a colour. */
function referral({ refer_by: until, overdue }) {
  if (!until) return t('followup.once');
  const day = dayOf(until);
  return overdue ? t('followup.overdue', { day }) : day;
}
