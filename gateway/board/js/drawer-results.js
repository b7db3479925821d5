// Results one by one, and moving one to the right person.

import * as api from './api.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { shortTime } from './format.js';
import { either, t } from './i18n.js';
import { Mover, whose } from './mover.js';
import { putLine } from './number.js';
import { resultPieces } from './pages/words.js';
import { may } from './store.js';

const SHOWN_MAX = 40;

export class Results {
  /** `undo`: the bar; `onChange(change)` runs a change and shows what it made of things. */
  constructor({ undo, onChange }) {
    Object.assign(this, { undo, onChange });
    this.rows = new Map();
    this.heading = h('h3');
    this.list = h('ol', { class: 'results' });
    this.element = h('section', { class: 'drawer-results' }, this.heading, this.list);
    this.clear();
  }

  clear() {
    this.results = [];
    this.rows.clear();
    this.list.replaceChildren();
  }

  /** `whole`: the patient, where there is one. */
  show(results, place, whole) {
    this.place = place;
    this.whole = whole;
    this.results = [...results].reverse().slice(0, SHOWN_MAX);
  }

  draw() {
    put(this.heading, t('results.heading'));
    set(this.element, 'hidden', !this.results.length);
    const keys = this.results.map(keyOf);
    for (const key of this.rows.keys()) if (!keys.includes(key)) this.rows.delete(key);
    arrange(this.list, this.results.map((result) => this.row(result).element));
  }

  row(result) {
    const key = keyOf(result);
    if (!this.rows.has(key)) this.rows.set(key, new ResultRow(this));
    const row = this.rows.get(key);
    row.draw(result, this.place, this.whole);
    return row;
  }
}

class ResultRow {
  constructor({ undo, onChange }) {
    const span = (name) => h('span', { class: name });
    [this.time, this.value, this.missed, this.from, this.meal, this.moved] = [
      'time', 'result-value', 'missed', 'from', 'from', 'moved',
    ].map(span);
    this.twoHours = h('button', {
      class: 'two-hours',
      hidden: true,
      onclick: () => onChange(() => api.afterMeal(this.first, !this.confirmed)),
    });
    this.mover = new Mover({ undo, find: () => this.first, run: onChange });
    this.element = h('li', { class: 'result' },
      this.time, this.value, this.missed, this.from, this.meal, this.moved, this.twoHours,
      this.mover.button, this.mover.choice);
  }

  draw({
    readings, moves, missed, two_hours: confirmed,
  }, place, whole) {
    const [first] = readings;
    this.first = first;
    const own = place.patient ? first.patient === place.patient : first.patient === null;
    const nowMs = clock.serverNow();
    put(this.time, shortTime(Date.parse(first.measured_time), nowMs));
    putLine(this.value, resultPieces(readings));
    put(this.from, first.device);
    set(this.element, 'data-moved', own ? null : 'true');
    // Not by its colour alone.
    const targets = (own && missed) || [];
    set(this.element, 'data-missed', targets.length ? 'true' : null);
    put(this.missed, targets.length ? t('results.missed', {
      what: targets.map((target) => either(target.message_zh, target.message_en)).join(t('signs.and')),
    }) : '');
    this.drawMeal(own && readings.find(isAfterMeal), confirmed, whole, nowMs);
    set(this.element, 'data-device', first.device);
    const last = moves[moves.length - 1];
    put(this.moved, last ? t(own ? 'results.moved_here' : 'results.moved_away', {
      by: last.by, at: shortTime(Date.parse(last.at), nowMs), to: whose(first.patient),
    }) : '');
    this.mover.draw(own ? place : null);
  }

  /** A target of two hours counts in pregnancy, once a person says that it was two hours. */
  drawMeal(after, confirmed, whole, nowMs) {
    this.confirmed = Boolean(confirmed);
    const asked = after && whole?.ruled?.populations.includes('pregnant');
    set(this.twoHours, 'hidden', !asked || !may('reassign_readings'));
    put(this.twoHours, t(confirmed ? 'results.not_two_hours' : 'results.confirm_two_hours'));
    put(this.meal, after && confirmed ? t('results.two_hours', {
      by: confirmed.by, at: shortTime(Date.parse(confirmed.at), nowMs),
    }) : '');
  }
}

const isAfterMeal = ({ context }) => context?.meal === 'meal_post';

function keyOf({ readings }) {
  const {
    site, outbox, lane, seq, index,
  } = readings[0] || {};
  return [site, outbox, lane, seq, index].join('/');
}
