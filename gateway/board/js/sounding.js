// Which alerts sound, and how often. Pure.

/** How often a sound is repeated while nobody answers. */
export const REPEAT_MS = { high: 10_000, medium: 30_000 };
/** A row of the table of late data that holds still sounds; any other says it once or not at all. */
const LATE_HOLDS = 4;
const LATE_RESULT = 5;
const RANKS = ['low', 'medium', 'high'];

/** `repeat`, `once` or `null`. */
export function soundOf(alert) {
  if (alert.state !== 'active_unack' || alert.retro) return null;
  const late = alert.late_row ?? LATE_HOLDS;
  if (late !== LATE_HOLDS && late !== LATE_RESULT) return null;
  return late === LATE_RESULT || !REPEAT_MS[alert.priority] ? 'once' : 'repeat';
}

/** The same as long as it sounds for the same reason; another where it sounds anew. */
export function soundKey({ id, priority, realarm_count: again, recurrences }) {
  return [id, priority, again, recurrences].join(' ');
}

/** The most urgent priority among alerts, or `null`. */
export function mostUrgent(alerts) {
  const ranks = alerts.map(({ priority }) => RANKS.indexOf(priority));
  return RANKS[Math.max(-1, ...ranks)] ?? null;
}
