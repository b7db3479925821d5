// The parts of the alert list: their heads, what came late, what is folded away and still counted.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { GLYPHS, message } from './alert-words.js';
import {
  ageText, shortTime, unitText,
} from './format.js';
import { isShown } from './filter.js';
import { t } from './i18n.js';
import { metricName } from './metric-name.js';
import { isUnacknowledged, sectionOf } from './order.js';
import { store } from './store.js';

/** From the top; `folded` are low ones in a flood, `over` what has ended. */
const PARTS = ['open', 'cleared', 'rest', 'folded', 'late', 'shelved', 'aside', 'over'];
/** Shut until somebody opens them: nothing in them waits for anybody. */
const SHUT = ['folded', 'aside', 'over'];
/** More than this in that time is a flood (alert rules, section 6). */
const FLOOD_MAX = 10;
const FLOOD_MS = 10 * 60_000;
/** What came late and what is over is told for a shift. */
export const SHIFT_MS = 12 * 3_600_000;
const WORST_MAX = 3;

/** How many alerts have begun lately, if that is a flood; else 0. */
export function floodOf(alerts, nowMs) {
  const fresh = alerts.filter(({ raised_at: at, retro }) => (
    !retro && nowMs - Date.parse(at) < FLOOD_MS));
  return fresh.length > FLOOD_MAX ? fresh.length : 0;
}

export class Sections {
  /** `onToggle(name, open)`: a part was opened or shut. */
  constructor(onToggle) {
    this.onToggle = onToggle;
    this.shut = new Set(SHUT);
    this.heads = new Map();
    this.parts = new Map();
    /** Whether what is over was fetched: `loading`, `known`, `failed`. */
    this.over = 'loading';
  }

  /** Ids of rows, and of heads (`#cleared`), in their order. */
  ids(alerts, isFlood) {
    this.parts = new Map(PARTS.map((name) => [name, []]));
    for (const alert of alerts) {
      const name = sectionOf(alert);
      const folds = isFlood && name === 'rest' && alert.priority === 'low';
      this.parts.get(folds ? 'folded' : name).push(alert);
    }
    const nowMs = clock.serverNow();
    const over = [...store.closed.values()]
      .filter((alert) => isShown(alert) && nowMs - Date.parse(alert.started_at) < SHIFT_MS);
    over.sort((a, b) => Date.parse(b.started_at) - Date.parse(a.started_at));
    this.parts.set('over', over);
    return PARTS.flatMap((name) => {
      const rows = this.shut.has(name) ? [] : this.parts.get(name).map(({ id }) => id);
      return this.hasHead(name) ? [`#${name}`, ...rows] : rows;
    });
  }

  hasHead(name) {
    if (name === 'open') return false;
    if (name === 'over') return true;
    if (name === 'late' && lateSites().length) return true;
    const above = ['open', 'cleared'].some((part) => this.parts.get(part).length);
    return this.parts.get(name).length > 0 && (name !== 'rest' || above);
  }

  head(id) {
    const name = id.slice(1);
    let head = this.heads.get(name);
    if (!head) {
      const words = h('span');
      const high = h('span', { class: 'count', 'data-priority': 'high' });
      const toggle = () => this.toggle(name);
      const button = h('button', { class: 'section-head', onclick: toggle }, words, high);
      const lines = h('div', { class: 'section-lines' });
      const element = h('li', { class: 'section', 'data-section': name }, button, lines);
      head = {
        button, words, high, lines, element,
      };
      this.heads.set(name, head);
    }
    const alerts = this.parts.get(name);
    const open = !this.shut.has(name);
    put(head.words, `${open ? '▾' : '▸'} ${this.title(name, alerts)}`);
    set(head.button, 'aria-expanded', String(open));
    // What is shut hides no high one that waits for somebody.
    const waiting = open ? 0 : alerts.filter(isHighWaiting).length;
    set(head.high, 'hidden', !waiting);
    put(head.high, waiting ? `${GLYPHS.high} ${t('priority.high')} ${waiting}` : '');
    const words = this.lines(name, alerts);
    arrange(head.lines, words.map((text, index) => {
      const line = head.lines.children[index] || h('p');
      put(line, text);
      return line;
    }));
    return head.element;
  }

  lines(name, alerts) {
    if (name === 'late') return lateSites().flatMap(lateLines);
    if (name === 'aside') return [...new Set(alerts.map(whyAside))];
    if (name !== 'over' || this.shut.has(name)) return [];
    if (this.over !== 'known') return [t(`section.over.${this.over}`)];
    return alerts.length ? [] : [t('section.over.none')];
  }

  /** How many are over is not said before somebody asked. */
  title(name, alerts) {
    if (name === 'over' && this.over !== 'known') return t('section.over_unknown');
    return t(`section.${name}`, { n: alerts.length });
  }

  toggle(name) {
    const opens = this.shut.has(name);
    if (opens) this.shut.delete(name);
    else this.shut.add(name);
    this.onToggle(name, opens);
  }
}

function isHighWaiting(alert) {
  return alert.priority === 'high' && isUnacknowledged(alert);
}

/** Why an alert does not stand for itself. */
function whyAside(alert) {
  if (alert.state === 'out_of_service') return t('section.aside.out', { device: alert.device });
  if (alert.state !== 'suppressed') return t('section.aside.other');
  const by = [...store.alerts.values()].find(({ rules }) => rules.includes(alert.suppressed_by));
  return t('section.aside.by', { what: by ? message(by) : alert.suppressed_by ?? '' });
}

/** Sites that sent something late within the shift. */
function lateSites() {
  const nowMs = clock.serverNow();
  return [...store.sites.values()].filter((site) => (
    site.late && isShown(site) && nowMs - Date.parse(site.late.until) < SHIFT_MS));
}

/** What came late from a site, and the worst of it. */
function lateLines({ clinic, site, late }) {
  const nowMs = clock.serverNow();
  const moment = (at) => shortTime(Date.parse(at), nowMs);
  const worst = late.worst.slice(0, WORST_MAX).map(({
    metric, value, comparator, unit, at,
  }) => {
    return [metricName(metric), comparator, value, unitText(unit, t), moment(at)].filter(Boolean).join(' ');
  });
  const [from, until] = [moment(late.from), moment(late.until)];
  const age = ageText(Date.parse(late.until) - Date.parse(late.from), t, true);
  const found = [
    late.alerts || !late.left_out ? t(late.alerts ? 'section.late.alerts' : 'section.late.no_alerts', { n: late.alerts }) : '',
    late.left_out ? t('section.late.left', { n: late.left_out }) : '',
  ].filter(Boolean).join(t('section.late.and'));
  return [
    t(late.judged ? 'section.late.judged' : 'section.late.judging', {
      clinic: clinic || site,
      // Of less than a minute the hour says it.
      span: from === until ? from : t('section.late.span', { from, until, age }),
      readings: late.readings,
      found,
    }),
    ...(worst.length ? [t('section.late.worst', { worst: worst.join('; ') })] : []),
  ];
}

