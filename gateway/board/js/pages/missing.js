// The ledger's gaps, and how often a link was lost, in plain words. Pure; words come in through `t`.

import { ageText, dateTime } from '../format.js';

/** What a box has not sent for less than this is under way. */
const UNDER_WAY_MS = 60_000;

/** What is missing of a site, one line for each cause and lane, the newest last. */
export function missingLines(lanes, nowMs, t) {
  const isUnderWay = ({ cause, since }) => cause === 'awaited'
    && nowMs - Date.parse(since) < UNDER_WAY_MS;
  return lanes.flatMap((lane) => {
    const causes = new Map();
    for (const one of lane.missing.filter((some) => !isUnderWay(some))) {
      const { key } = keyOf(one.state, one.cause, t);
      causes.set(key, [...(causes.get(key) || []), one]);
    }
    return [...causes.values()].map((some) => line(lane, some, t));
  });
}

/** How often a box or device was lost within a day, and for how long in all. */
export function lostText({ times, seconds, at_least: atLeast }, t) {
  if (!times) return t('devices.lost.none');
  const many = times === 1 ? 'once' : 'times';
  return t(`devices.lost.${atLeast ? 'at_least' : many}`, {
    n: times, age: ageText(seconds * 1000, t, true),
  });
}

/** What of a site was kept aside and is missing in none of its lanes, one line for each cause. */
export function asideLines(aside, lanes, t) {
  const isMissing = ({ outbox, lane, seq, part_taken: isPart }) => !isPart && lanes.some((one) => (
    one.outbox === outbox && one.lane === lane && one.missing.some((range) => (
      range.state === 'quarantined' && seq >= range.first && seq <= range.last))));
  const counts = new Map();
  for (const { cause, part_taken: isPart } of aside.filter((one) => !isMissing(one))) {
    // Of what came in part the county says for each cause of how many records.
    const causes = isPart ? cause.split('; ') : [cause];
    for (const one of causes) {
      const { key, n } = keyOf('aside', one, t);
      counts.set(key, (counts.get(key) || 0) + n);
    }
  }
  return [...counts].map(([key, n]) => t(key, { n }));
}

/** The words of a cause, and of how much it speaks: behind a colon stands what an engineer reads. */
function keyOf(state, cause, t) {
  const [word, said = ''] = cause.split(': ');
  const key = `missing.${state}.${word}`;
  return { key: t.has(key) ? key : `missing.${state}.other`, n: parseInt(said, 10) || 1 };
}

function line(lane, some, t) {
  const [{ state, cause }] = some;
  const messages = some.reduce((sum, one) => sum + one.last - one.first + 1, 0);
  const words = t(keyOf(state, cause, t).key, { n: messages });
  const moments = (name) => some.map((one) => one[name]).filter(Boolean).sort();
  const [since] = moments('since');
  const until = moments('until').pop();
  const said = { lane: t(`missing.lane.${lane.lane}`), n: messages, words };
  if (!since) return t('missing.line_undated', said);
  const at = dateTime(Date.parse(since));
  const when = until && state === 'dropped'
    ? t('missing.between', { since: at, until: dateTime(Date.parse(until)) })
    : t('missing.since', { since: at });
  return t('missing.line', { ...said, when });
}
