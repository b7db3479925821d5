// One value of a device: its name, number, unit, age, and what is doubtful about it.

import * as clock from './clock.js';
import {
  arrange, h, put, set,
} from './dom.js';
import { ageText, unitText } from './format.js';
import { t } from './i18n.js';
import { isWithoutRule } from './beds.js';
import { ageLine, judged, marksOf } from './judged.js';
import { metricName } from './metric-name.js';
import { kpaPieces, putLine, stamp } from './number.js';
import { LIMITS } from './stale.js';
import { kindOf, ruledOf, store } from './store.js';

/** Settings and counts of devices, which no rule is meant to look at. */
const UNJUDGED = /^(pump_|batt_|power|cuff_pressure|clock_|link_|.*_dev_status)/;

export class Cell {
  /** `moverOf(find)`: what moves a result to another patient; in tiles there is none. */
  constructor(moverOf) {
    const span = (name) => h('span', { class: name });
    this.pending = span('unseen');
    [this.label, this.numbers, this.unit, this.kpa] = ['label', 'numbers', 'unit', 'kpa'].map(span);
    [this.reason, this.mark, this.ruleless, this.age] = ['reason', 'mark', 'no-rule', 'age'].map(span);
    this.element = h('div', { class: 'cell' },
      this.label, h('span', { class: 'amount' }, this.numbers, this.pending, this.unit),
      this.kpa, this.reason, this.mark, this.ruleless, this.age);
    this.mover = moverOf && moverOf(() => this.first);
    if (this.mover) this.element.append(this.mover.button, this.mover.choice);
    this.ages = [];
    /** Whether it has a number, and whether a rule looks at it. */
    this.counts = false;
    this.isRuled = false;
  }

  draw(cell, device) {
    const nowMs = clock.serverNow();
    const name = metricName(cell.metric);
    const shown = cell.parts.map((reading) => judged(reading, device, nowMs));
    put(this.label, [
      cell.channel ? `${name} ${cell.channel.toUpperCase()}` : name, shown[0].text && shown[0].meal,
    ].filter(Boolean).join(' · '));
    this.ages = shown;
    const first = shown[0];
    [this.first] = cell.parts;
    if (this.mover) this.mover.draw(placeOf(this.first));
    // A reason instead of the number is a word, and words are smaller than numbers.
    const reason = shown.find((part) => part.reason)?.reason || '';
    const none = shown.every((part) => part.text === null);
    const reasonOnly = none && reason !== '' && !first.hidden;
    this.drawNumbers(cell.metric === 'nibp' ? bothOf(shown) : shown, reasonOnly);
    put(this.pending, shown.some((part) => part.pending) ? t('tiles.pending') : '');
    set(this.element, 'data-reason-only', reasonOnly ? 'true' : null);
    put(this.unit, none ? '' : unitText(shown.find((part) => part.unit)?.unit, t));
    const pressures = ['nibp_sys', 'nibp_dia']
      .map((metric) => shown.find((part) => part.metric === metric));
    putLine(this.kpa, kpaPieces(...pressures));
    put(this.reason, reason);
    put(this.mark, marksOf(cell.parts.filter((_, index) => shown[index].text !== null)));
    this.counts = !none && canHaveRule(cell.parts[0]);
    const classes = cell.parts.map((reading) => store.catalogue.get(reading.metric)?.class);
    const ruleless = this.counts && isWithoutRule(classes, ruledOf(device));
    this.isRuled = this.counts && !ruleless;
    put(this.ruleless, ruleless ? t('tiles.no_rule') : '');
    set(this.element, 'data-no-rule', ruleless ? 'true' : null);
    // The head says how old the fresh ones are.
    put(this.age, isPlain(first) ? '' : ageLine(first, nowMs));
    set(this.element, 'data-suspect', first.suspect ? 'true' : null);
    set(this.element, 'data-cell', cell.metric);
    set(this.element, 'data-large', cell.large ? 'true' : null);
    set(this.element, 'data-cell-stale', first.stale);
    set(this.element, 'data-no-data', none ? 'true' : null);
    set(this.element, 'data-spot', first.rule === 'spot' ? 'true' : null);
    set(this.element, 'data-value', first.metric === 'pump_state' ? first.raw : null);
  }

  drawNumbers(shown, reasonInstead) {
    const wanted = [];
    shown.forEach((part, index) => {
      const number = this.numbers.children[index] || h('span');
      set(number, 'class', part.metric === 'nibp_mean' ? 'num mean' : 'num');
      stamp(number, part);
      set(number, 'data-pending', part.pending ? 'true' : null);
      const none = part.text === null;
      put(number, none ? (reasonInstead ? '' : '--') : part.text);
      // Of two lines that stand for a number nobody hears anything.
      set(number, 'role', none ? 'img' : null);
      set(number, 'aria-label', none ? `${metricName(part.metric)} ${t('validity.invalid')}` : null);
      wanted.push(number);
    });
    arrange(this.numbers, wanted);
  }
}

/** Where one of the two pressures never came its place says so: `/70` could be either. */
function bothOf(shown) {
  const [first] = shown;
  const none = (metric) => ({ ...first, metric, text: null, pending: false });
  const pair = ['nibp_sys', 'nibp_dia']
    .map((metric) => shown.find((part) => part.metric === metric) || none(metric));
  return [...pair, ...shown.filter((part) => !pair.includes(part))];
}

/** Whose a result is; `null` of what repeats: whose that is goes by the device. */
function placeOf({ metric, patient, site }) {
  if (kindOf(metric) !== 'spot') return null;
  return { patient: patient ?? null, clinic: store.sites.get(site)?.clinic || site };
}

/** A number that repeats, is fresh and not in doubt; one that comes seldom has its age beside it. */
function isPlain(part) {
  return part.rule !== 'spot' && part.stale === 'fresh' && !part.suspect
    && part.ageMs <= LIMITS[part.rule][0];
}

/** How old the oldest of the numbers is that need no age of their own. */
export function ageOfCells(cells) {
  const ages = cells.flatMap((cell) => cell.ages).filter(isPlain).map((part) => part.ageMs);
  return ages.length ? t('age.fresh', { age: ageText(Math.max(...ages), t) }) : '';
}

/** Numbers of a patient; how a pump stands and what a device counts for itself have no limits. */
function canHaveRule(reading) {
  const kind = kindOf(reading.metric);
  return (kind === 'stream' || kind === 'spot') && !UNJUDGED.test(reading.metric);
}
