// What is said of an alert: its sign, its words, where and whose it is.

import * as clock from './clock.js';
import { signWords, signsLine } from './danger-signs.js';
import {
  ageText, countdown, saidText, shortTime, unitText, wordOf,
} from './format.js';
import { either, t } from './i18n.js';
import { numberAt } from './number.js';
import { holdsSinceMs, isUnacknowledged } from './order.js';
import {
  bedOf, deviceKey, stationAt, stationPatient, store,
} from './store.js';
import { apartText, hasNamesake } from './who.js';

export const GLYPHS = { high: '▲!!!', medium: '■!!', low: '●!' };
/** A spot value that came late and asks for another (alert rules, section 8). */
const LATE_RESULT = 5;
const HOUR_MS = 3_600_000;
/** The rule of alarms that no other knows: behind its own words stand the device's. */
const AS_SENT = 'DEV-OTHER';
/** The rule of an edge box that is away: what is to be done is not in its name. */
const BOX_OFFLINE = 'EDGE-OFFLINE';

/** `高 2 低 1`. */
export function countsOf(alerts) {
  return Object.keys(GLYPHS).map((priority) => {
    const n = alerts.filter((alert) => alert.priority === priority).length;
    return n ? `${t(`priority.${priority}`)} ${n}` : '';
  }).filter(Boolean).join(' ');
}

/** What it says. */
export function message(alert) {
  const whole = either(alert.message_zh, alert.message_en) || alert.family;
  if (!alert.rules.includes(AS_SENT)) return whole;
  const said = alert.message_zh.slice(alert.message_zh.indexOf(' ') + 1);
  return whole.replace(said, wordOf('device_alarm', said, t));
}

/** The limit that was crossed, in the unit of the value. */
export function limitText({ limit, metric, unit }) {
  // While no value is outside the county names none.
  const said = unitText(unit ?? store.catalogue.get(metric)?.canonical_unit, t);
  return limit ? t('alerts.limit', { limit: `${limit} ${said}`.trim() }) : '';
}

/** The number that raised it, as old as what it says; `null` where none did. */
export function valueOf(alert) {
  const { comparator, value, metric } = alert;
  if (!value) return null;
  return numberAt([comparator, value].filter(Boolean).join(' '), metric, holdsSinceMs(alert), alert);
}

/** The patient of an alert, as far as the board knows them. */
export function patientOf(alert) {
  return (alert.patient && store.patients.get(alert.patient)) || null;
}

/** Whose: bed and masked name; of nobody's the bed at which the device stands. */
export function who(alert) {
  // A box has no patient, and is not on nobody either.
  if (alert.device === alert.site) return alert.clinic || alert.site;
  const patient = patientOf(alert);
  const bed = bedOf(alert);
  if (!alert.patient) {
    const none = isAsThen(alert) ? nobody(alert) : t('patient.none');
    return bed ? `${t('patient.bed', { bed })} ${none}` : none;
  }
  if (!patient) return t('patient.unknown');
  return name(patient, bed);
}

/** Whose, and what it is: where its row is out of sight. */
export function whatOf(alert) {
  return `${who(alert)} · ${message(alert)}`;
}

/** Bed and masked name; where these are another's too, what tells them apart. */
function name(patient, bed = patient.bed) {
  const where = bed ? t('patient.bed', { bed }) : t('patient.no_bed');
  const known = [where, patient.name || ''].filter(Boolean).join(' ');
  return hasNamesake(patient, bed) ? `${known} · ${apartText(patient)}` : known;
}

/** Whether the device and its station are where they were when the alert began. */
function isAsThen(alert) {
  const station = stationAt(alert);
  const from = station && store.bindings.get(deviceKey(station))?.from;
  return Boolean(from) && Date.parse(from) <= Date.parse(alert.started_at)
    && !store.bindings.get(deviceKey(alert))?.patient;
}

/** What is said where no patient is known: of a pump on a station, where that stands. */
export function nobody(device) {
  const patient = stationPatient(device);
  return patient ? t('patient.none_station', { who: name(patient) }) : t('patient.none');
}

/** Where: device and clinic. */
export function where(alert) {
  const kind = store.devices.get(deviceKey(alert))?.kind;
  const device = kind ? `${wordOf('kind', kind, t)} ${alert.device}` : alert.device;
  return [device, alert.clinic || alert.site].join(' · ');
}

/** For how long it has held; of what is over, from when to when. */
export function since(alert) {
  const nowMs = clock.serverNow();
  const started = Date.parse(alert.started_at);
  const at = shortTime(started, nowMs);
  const cleared = Date.parse(alert.cleared_at);
  const over = ['cleared_unack', 'closed'].includes(alert.state) && !Number.isNaN(cleared);
  if (over) return t('alerts.over', { at, until: shortTime(cleared, nowMs) });
  // Since when it is over nobody said.
  if (alert.state === 'closed') return t('alerts.began', { at });
  const begun = holdsSinceMs(alert);
  if (begun === started) return t('alerts.since', { at, age: ageText(nowMs - started, t) });
  return t('alerts.since_again', {
    at: shortTime(begun, nowMs), first: at, age: ageText(nowMs - begun, t),
  });
}

/** Its state, and what is special about it. */
export function state(alert, nowMs = clock.serverNow()) {
  const words = [wordOf('state', alert.state, t)];
  const started = Date.parse(alert.started_at);
  if (alert.state === 'shelved' && alert.shelved_until) {
    const until = shortTime(Date.parse(alert.shelved_until), nowMs);
    words[0] = t('alerts.shelved', { until, by: alert.shelved_by, reason: saidText(alert.shelf_reason, t) });
  }
  if (alert.rules.includes(BOX_OFFLINE) && alert.state.startsWith('active')) words.push(t('alerts.box_offline'));
  if (alert.retro) words.push(t('alerts.retro', { at: shortTime(started, nowMs) }));
  if (alert.late_row === LATE_RESULT && alert.state === 'active_unack') {
    words.push(t('alerts.remeasure', { age: ageText(nowMs - started, t, true) }));
  }
  if (alert.not_rechecked) words.push(t('alerts.not_rechecked'));
  if (alert.time_suspect) words.push(t('age.suspect'));
  if (alert.recurrences) words.push(t('alerts.recurred', { n: alert.recurrences }));
  if (alert.realarm_count) words.push(t('alerts.realarmed', { n: alert.realarm_count }));
  return [...words, signsLine(alert)].filter(Boolean).join(' · ');
}

/** Who has it in hand, and why they say so. */
export function owner(alert) {
  const { acknowledged_by: answered, assigned_to: to } = alert;
  const hasAnswered = answered && !isUnacknowledged(alert);
  // It stays theirs when they answer; handed on after an answer it is another's.
  if (to && !(hasAnswered && answered === to)) return t('alerts.assigned', { to });
  if (hasAnswered) {
    return ownerWords('alerts.owner', answered, alert.acknowledged_at, alert.reason);
  }
  // It went on and signals again, or came again: who answered knows most of it.
  const before = (alert.timeline || [])
    .filter(({ what }) => ['acknowledged', 'undone'].includes(what)).pop();
  return before?.what === 'acknowledged'
    ? ownerWords('alerts.owner_before', before.by, before.at, before.reason) : t('alerts.no_owner');
}

function ownerWords(key, by, at, reason) {
  return t(key, {
    by, at: shortTime(Date.parse(at), clock.serverNow()), reason: wordOf('reason', reason, t),
  });
}

/** Who is told next if nobody answers, and in how long. */
export function nextStep({ state: now, next_step: step }) {
  if (now !== 'active_unack' || !step) return '';
  const leftMs = Date.parse(step.at) - clock.serverNow();
  const person = step.person ? masked(step.person) : '';
  const whom = [wordOf('level', step.level, t), person].filter(Boolean).join(' ');
  const time = leftMs < HOUR_MS ? countdown(leftMs) : ageText(leftMs, t);
  return leftMs > 0 ? t('alerts.next', { time, whom })
    : t('alerts.next_now', { whom });
}

const LADDER = ['first', 'second', 'township_doctor', 'county_on_call'];

/** Who is told one after the other while nobody answers a high alert; a tick for who was. */
export function ladder({ state: now, priority, escalation_level: told, next_step: step }) {
  if (now !== 'active_unack' || priority !== 'high' || !step) return '';
  const reached = LADDER.indexOf(told);
  return LADDER.map((level, index) => {
    const sign = { [step.level]: '▸ ' }[level] ?? '';
    return `${index <= reached ? '✓ ' : sign}${t(`ladder.${level}`)}`;
  }).join(' → ');
}

/** 李* of 李明: who walks past learns no name. No line ends between the two signs. */
function masked(name) {
  return `${[...name][0]}\u2060*`;
}

/** A line of an alert's story. */
export function storyLine(entry) {
  return [
    shortTime(Date.parse(entry.at), clock.serverNow()),
    wordOf('timeline', entry.what, t),
    entry.by || '',
    entry.board && entry.board !== entry.by ? t('timeline.board', { board: entry.board }) : '',
    ...entryWords(entry),
  ].filter(Boolean).join(' · ');
}

/** Steps whose `detail` is the rule, whose words the alert says already. */
const RULE_IN_DETAIL = ['raised', 'recurred', 'raised_late'];

/** Why, to whom and with which words; earlier counties sent some of it in `detail`. */
function entryWords({
  what, reason, note, detail, to, until,
}) {
  const words = [reason ? wordOf('reason', reason, t) : ''];
  if (what === 'escalated') words.push(wordOf('level', detail, t));
  // What was taken back.
  else if (what === 'danger_signs') words.push(signWords(detail.split(',')));
  else if (what === 'undone') words.push(wordOf('timeline', detail, t));
  else if (!reason && !note && !RULE_IN_DETAIL.includes(what)) words.push(wordOf('reason', detail || '', t));
  if (to) words.push(t('timeline.to', { to }));
  if (until) {
    const at = shortTime(Date.parse(until), clock.serverNow());
    words.push(t('timeline.until', { at }));
  }
  return [...words, saidText(note || '', t)];
}
