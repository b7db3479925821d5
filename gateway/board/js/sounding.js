// Which alerts sound, and how often. Pure.

/** How often a sound is repeated while nobody answers. */
export const REPEAT_MS = { high: 10_000, medium: 30_000 };
/** A spot value that came late (alert rules, section 8) is said once. */
const LATE_RESULT = 5;
const RANKS = ['low', 'medium', 'high'];

/** `repeat`, `once` or `null`: by where it stands, however late its begin was told. */
export function soundOf(alert) {
  if (alert.retro || alert.quiet) return null;
  if (alert.state !== 'active_unack') return reminderOf(alert) === null ? null : 'once';
  return alert.late_row === LATE_RESULT || !REPEAT_MS[alert.priority] ? 'once' : 'repeat';
}

/** When the county reminded last of a high one that is over and nobody has seen, or `null`. */
function reminderOf({
  state, priority, cleared_at: cleared, timeline,
}) {
  if (state !== 'cleared_unack' || priority !== 'high') return null;
  const reminders = timeline.filter(({ what, at }) => (
    what === 'reminded' && Date.parse(at) >= Date.parse(cleared)));
  return reminders.length ? reminders[reminders.length - 1].at : null;
}

/** Another where it begins anew: more urgent, again, or because nobody helped. */
export function beginningKey({
  id, priority, realarm_count: again, recurrences,
}) {
  return [id, priority, again, recurrences].join(' ');
}

/** The same as long as it sounds for the same reason; another where it sounds anew. */
export function soundKey(alert) {
  return [beginningKey(alert), soundOf(alert), reminderOf(alert)].join(' ');
}

/** What sounds among the alerts that are open, and what of it begins. */
export class Sounding {
  constructor() {
    this.known = new Set();
    this.open = new Set();
  }

  /**
   * `sounding`, of it what is `fresh`, and of that what is no reminder (`begins`). A reminder is news
   * only to who knew the alert before: another board has given it, or this page before it was loaded.
   */
  update(alerts) {
    const sounding = alerts.filter((alert) => soundOf(alert) !== null);
    const isNews = ({ state, id }) => state === 'active_unack' || this.open.has(id);
    const fresh = sounding.filter((alert) => !this.known.has(soundKey(alert)) && isNews(alert));
    this.known = new Set(sounding.map(soundKey));
    this.open = new Set(alerts.map(({ id }) => id));
    return { sounding, fresh, begins: fresh.filter(({ state }) => state === 'active_unack') };
  }
}

/** The most urgent priority among alerts, or `null`. */
export function mostUrgent(alerts) {
  const ranks = alerts.map(({ priority }) => RANKS.indexOf(priority));
  return RANKS[Math.max(-1, ...ranks)] ?? null;
}
