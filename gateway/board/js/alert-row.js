// One alert: what it says, and its story.

import * as clock from './clock.js';
import * as api from './api.js';
import { Actions } from './alert-actions.js';
import * as words from './alert-words.js';
import {
  arrange, h, put, set,
} from './dom.js';
import { unitText } from './format.js';
import { t } from './i18n.js';
import { ageLine, judged, marksOf } from './judged.js';
import { metricName } from './metric-name.js';
import { Mover } from './mover.js';
import {
  between, filled, kpaPieces, putLine, stamp,
} from './number.js';
import { measuredMs, seriesOf } from './order.js';
import {
  bedOf, deviceKey, isOf, kindOf, store,
} from './store.js';

/** Clocks of devices and boxes are this far apart. */
const AROUND_MS = 10 * 60_000;
/** The county tells so much at once; of a result that is older the drawer knows. */
const SPAN_MS = 24 * 3_600_000;
const SPANS_MAX = 7;

export class Row {
  constructor(list, alert) {
    this.list = list;
    this.alert = alert;
    this.detailOpen = false;
    this.actions = new Actions(this);
    this.mover = new Mover({
      undo: list.undo, find: () => resultOf(this.alert), run: (change) => this.actions.run(change),
    });
    this.build();
  }

  build() {
    const enter = () => this.list.hold();
    const span = (name) => h('span', { class: name });
    this.glyph = h('span', { class: 'glyph', 'aria-hidden': 'true' });
    [this.word, this.isNew, this.message, this.state, this.who] = [
      'word', 'new', 'message', 'state', 'who',
    ].map(span);
    [this.since, this.owner, this.next, this.ladder] = ['since', 'owner', 'next', 'ladder'].map(span);
    [this.metric, this.number, this.unit, this.mark, this.limit, this.age, this.outside] = [
      'metric', 'number', 'unit', 'mark', 'limit', 'age', 'outside',
    ].map(span);
    // It opens the drawer of who or what the alert is about.
    this.where = h('a', { class: 'where' });
    this.amount = h('span', { class: 'amount' }, this.number, this.unit);
    this.value = h('div', { class: 'line value' },
      this.metric, this.amount, this.mark, this.age, this.outside, this.limit);
    this.more = h('button', { class: 'more', onclick: () => this.toggleDetail() });
    this.story = h('ol', { class: 'timeline' });
    this.detail = h('div', { class: 'detail', hidden: true }, this.actions.others, this.story);
    this.element = h('li', {
      class: 'alert', tabindex: '-1', 'data-alert-id': this.alert.id,
      onpointerenter: enter, onfocusin: enter,
    },
    h('div', { class: 'priority' }, this.glyph, this.word, this.isNew),
    h('div', { class: 'body' },
      h('div', { class: 'line' }, this.who, this.message),
      this.value,
      h('div', { class: 'line small' }, this.where),
      h('div', { class: 'line small' }, this.state, this.since, this.owner, this.next, this.ladder),
      this.actions.problem),
    h('div', { class: 'buttons' },
      this.actions.button, this.actions.askSigns, this.more, this.mover.button),
    this.actions.panel, this.mover.choice, this.detail);
  }

  draw(alert) {
    this.actions.changed(this.alert, alert);
    this.alert = alert;
    const facts = {
      'data-priority': alert.priority,
      'data-state': alert.state,
      'data-bed': bedOf(alert),
      'data-device': alert.device,
      'data-retro': alert.retro ? 'true' : null,
    };
    for (const [name, value] of Object.entries(facts)) set(this.element, name, value);
    put(this.glyph, alert.state === 'unknown' ? '?' : words.GLYPHS[alert.priority] || 'ⓘ');
    put(this.word, t(`priority.${alert.priority}`));
    put(this.isNew, alert.state === 'active_unack' ? t('alerts.new') : '');
    put(this.message, words.message(alert));
    put(this.who, words.who(alert));
    put(this.where, words.where(alert));
    set(this.where, 'href', `#alert=${alert.id}`);
    this.drawValue(alert);
    put(this.state, words.state(alert));
    put(this.since, words.since(alert));
    put(this.owner, words.owner(alert));
    const next = words.nextStep(alert);
    // Without a link the board knows nothing of who is told.
    put(this.next, next && this.list.isLost() ? t('alerts.next_unknown') : next);
    put(this.ladder, this.list.isLost() ? '' : words.ladder(alert));
    put(this.more, t(this.detailOpen ? 'alerts.less' : 'alerts.more'));
    set(this.more, 'aria-expanded', String(this.detailOpen));
    set(this.more, 'aria-label', `${this.more.textContent}: ${words.message(alert)}`);
    this.actions.draw(alert);
    this.mover.draw(this.movable(alert));
    if (this.detailOpen) this.drawStory(alert);
  }

  /** What is measured now, with its age; of what is over, what it was. */
  drawValue(alert) {
    const name = metricName(alert.metric);
    const outside = words.valueOf(alert);
    put(this.limit, words.limitText(alert));
    const over = ['cleared_unack', 'closed'].includes(alert.state);
    const now = over ? null : this.present(alert);
    set(this.value, 'hidden', !alert.metric || !(outside || now));
    set(this.amount, 'hidden', over);
    set(this.age, 'hidden', over);
    put(this.number, now?.text ?? '--');
    stamp(this.number, now ?? { metric: alert.metric, ageMs: null, stale: 'stale' });
    const unit = unitText(alert.unit ?? store.catalogue.get(alert.metric)?.canonical_unit, t);
    const pressure = (number) => (alert.unit === 'mm[Hg]' ? kpaPieces(number) : []);
    putLine(this.unit, over || !now?.text ? [] : between([[unit], pressure(now)], ' '));
    put(this.mark, now?.text ? marksOf([now.reading]) : '');
    const age = now ? [now.reason, ageLine(now, clock.serverNow())] : [];
    put(this.age, age.filter(Boolean).join(' · '));
    // The number that raised it, where it is not the one beside it.
    const same = !outside || now?.text === outside.text;
    const present = now?.text && !same ? t('alerts.now') : '';
    put(this.metric, [name, now?.text ? now.meal : '', present].filter(Boolean).join(' · '));
    putLine(this.outside, same || alert.state === 'unknown' ? []
      : filled('alerts.outside', {
        value: between([[outside], [unit], pressure(outside)], ' '),
      }));
  }

  /** The newest reading of the alert's metric as it may be shown; `null` where nobody knows. */
  present(alert) {
    const device = store.devices.get(deviceKey(alert));
    if (!device || alert.state === 'unknown') return null;
    const own = [...device.series].filter(([, reading]) => isOf(reading, alert.patient));
    const reading = seriesOf(new Map(own), alert);
    return reading ? { ...judged(reading, device), reading } : null;
  }

  /** A result that raised an alert may be another's; without a link nothing is moved. */
  movable({
    metric, patient, value, clinic, site,
  }) {
    if (!value || kindOf(metric) !== 'spot' || this.list.isLost()) return null;
    return { patient, clinic: clinic || site };
  }

  drawStory(alert) {
    // The newest first: of one that comes and goes the story is long.
    arrange(this.story, [...(alert.timeline || [])].reverse().map((entry, index) => {
      const line = this.story.children[index] || h('li');
      put(line, words.storyLine(entry));
      return line;
    }));
  }

  toggleDetail() {
    this.detailOpen = !this.detailOpen;
    set(this.detail, 'hidden', !this.detailOpen);
    this.list.draw();
  }

  openDetail() {
    if (!this.detailOpen) this.toggleDetail();
  }
}

/**
 * The reading whose number an alert names, a fault where there is none: an alert names the latest
 * that was outside, which may be a recheck long after it began.
 */
async function resultOf(alert) {
  const { site, device, patient } = alert;
  const isIt = (one) => one.metric === alert.metric && isOf(one, patient)
    && (one.canonical_value ?? one.value) === alert.value && deviceKey(one) === deviceKey(alert);
  const firstMs = Date.parse(alert.started_at) - AROUND_MS;
  // What was measured since it was over is another's.
  const overMs = alert.cleared_at ? Date.parse(alert.cleared_at) : clock.serverNow();
  let toMs = overMs + AROUND_MS;
  for (let span = 0; span < SPANS_MAX && toMs > firstMs; span += 1) {
    const fromMs = Math.max(firstMs, toMs - SPAN_MS);
    const { results } = await api.trends({
      ...(patient ? { patient } : { site, device }),
      from: new Date(fromMs).toISOString(),
      to: new Date(toMs).toISOString(),
    });
    const found = results.flatMap(({ readings }) => readings).filter(isIt)
      .sort((a, b) => measuredMs(b) - measuredMs(a))[0];
    if (found) return found;
    toMs = fromMs;
  }
  throw new api.Failure(404, { detail: t('results.not_found') });
}
