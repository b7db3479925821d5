// Numbers, units, ages and times as people read them. Pure; words come in through `t`.

const UNITS = {
  'mm[Hg]': 'mmHg', Cel: '°C', '%': '%', 'ug/kg/min': 'µg/kg/min', 'kg/m2': 'kg/m²', 1: '',
};
/** Units that are words: they are in the texts. */
const WORDS = ['/min', 'min', 's', 'h'];

/** A unit of UCUM as it is printed. */
export function unitText(unit, t) {
  if (!unit) return '';
  if (WORDS.includes(unit)) return t(`unit.${unit}`);
  return Object.prototype.hasOwnProperty.call(UNITS, unit) ? UNITS[unit] : unit;
}

/** The number that was compared with the limits, as printed, with its unit. */
export function shownValue(reading) {
  const canonical = reading.canonical_value !== null && reading.canonical_value !== undefined;
  const value = canonical ? reading.canonical_value : reading.value;
  const sign = reading.comparator && reading.comparator !== '=' ? `${reading.comparator} ` : '';
  const unit = canonical ? reading.canonical_unit : reading.unit;
  return { text: value === null || value === undefined ? '' : `${sign}${value}`, unit: unit || '' };
}

/** Nothing that a font has: of private use, not assigned, half a character, or lost on the way. */
const ILLEGIBLE = /[\p{Co}\p{Cn}\p{Cs}\uFFFD]/gu;

/** A text as a device sent it: what no font can show is said in words and never left out. */
export function legible(text, t) {
  return text.replace(ILLEGIBLE, (sign) => t('illegible', {
    code: sign.codePointAt(0).toString(16).toUpperCase().padStart(4, '0'),
  }));
}

/** A reason such as `lead_off` or `device_error:E43`, in words. */
export function noDataText(reason, t) {
  const colon = reason.indexOf(':');
  const name = colon < 0 ? reason : reason.slice(0, colon);
  const detail = colon < 0 ? '' : reason.slice(colon + 1);
  const words = t.has(`no_data.${name}`) ? t(`no_data.${name}`) : reason;
  return detail ? t('no_data.with_detail', { words, detail }) : words;
}

/** When a glucose was taken, where somebody said; empty where nobody did. */
export function mealText({ context }, t) {
  const meal = context?.meal;
  return meal && t.has(`meal.${meal}`) ? t(`meal.${meal}`) : '';
}

/** A word of an enumeration; as sent where nobody translated it. */
export function wordOf(prefix, value, t) {
  const key = `${prefix}.${value}`;
  return t.has(key) ? t(key) : legible(String(value), t);
}

/** What was done to a device, by its kind: its text is an engineer's, and in the audit log. */
export function actionText({ action }, t) {
  return t(t.has(`action.${action}`) ? `action.${action}` : 'action.other');
}

/** A reason that was ready, of which the word is kept; other words are somebody's own. */
export function saidText(text, t) {
  return /^ready\.[a-z_]+$/.test(text) ? wordOf('deed', text, t) : text;
}

/** An age or duration; `coarse` leaves the seconds of minutes out. */
export function ageText(ms, t, coarse = false) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return t('age.s', { s: seconds });
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10 && !coarse) return t('age.ms', { m: minutes, s: seconds % 60 });
  if (minutes < 60) return t('age.m', { m: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return t('age.hm', { h: hours, m: minutes % 60 });
  return t('age.d', { d: Math.floor(hours / 24) });
}

/** What is left of a time: `2:10`. */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** How long a box still holds what comes in, of so many seconds: of days the hours count too. */
export function heldText(seconds, t) {
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return ageText(seconds * 1000, t, true);
  return t('age.dh', { d: Math.floor(hours / 24), h: hours % 24 });
}

/** The county's time zone: a board must not follow the zone its computer was set to. */
const ZONE = 'Asia/Shanghai';
const parts = new Intl.DateTimeFormat('en-GB', {
  timeZone: ZONE, year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit',
  minute: '2-digit', hourCycle: 'h23',
});

/** Asking for a zone is slow, and a board prints the same minutes again and again. */
const KNOWN_MAX = 1000;
const known = new Map();

/** `2026-11-22 09:30`. */
export function dateTime(ms) {
  const minute = Math.floor(ms / 60_000);
  const before = known.get(minute);
  if (before) return before;
  const at = {};
  for (const { type, value } of parts.formatToParts(new Date(ms))) at[type] = value;
  const text = `${at.year}-${at.month}-${at.day} ${at.hour}:${at.minute}`;
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(minute, text);
  return text;
}

/** `2026-11-22 09:30:05`. */
export function dateTimeSeconds(ms) {
  const seconds = Math.floor(ms / 1000) % 60;
  return `${dateTime(ms)}:${String(seconds).padStart(2, '0')}`;
}

/** `09:30:05`. */
export function timeSeconds(ms) {
  return dateTimeSeconds(ms).slice(11);
}

/** `09:30` today, else with its date. */
export function shortTime(ms, todayMs) {
  const text = dateTime(ms);
  return text.slice(0, 10) === dateTime(todayMs).slice(0, 10) ? text.slice(11) : text;
}
