// Which alerts sound, and how often. Pure.

/** How often a sound is repeated while nobody answers. */
export const REPEAT_MS = { high: 10_000, medium: 30_000 };
/** A spot value that came late (alert rules, section 8) is said once. */
const LATE_RESULT = 5;
const RANKS = ['low', 'medium', 'high'];

/** `repeat`, `once` or `null`: by where it stands, however late its begin was told. */
export function soundOf(alert) {
  if (alert.state !== 'active_unack' || alert.retro || alert.quiet) return null;
  return alert.late_row === LATE_RESULT || !REPEAT_MS[alert.priority] ? 'once' : 'repeat';
}

/** Another where it begins anew: more urgent, again, or because nobody helped. */
export function beginningKey({
  id, priority, realarm_count: again, recurrences,
}) {
  return [id, priority, again, recurrences].join(' ');
}

/** The same as long as it sounds for the same reason; another where it sounds anew. */
export function soundKey(alert) {
  return `${beginningKey(alert)} ${soundOf(alert)}`;
}

/** The most urgent priority among alerts, or `null`. */
export function mostUrgent(alerts) {
  const ranks = alerts.map(({ priority }) => RANKS.indexOf(priority));
  return RANKS[Math.max(-1, ...ranks)] ?? null;
}
