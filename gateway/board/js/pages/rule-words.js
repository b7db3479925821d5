// A rule's condition and priority as people write them. Pure; words come in through `t`.

import { ageText, unitText, wordOf } from '../format.js';

const OPS = { '<': '<', '<=': '≤', '>': '>', '>=': '≥' };

/** `心率 < 40 次/分 · 10 秒 · 成人`, with all that must be so besides; what is no threshold is named by its kind. */
export function condition(rule, t) {
  const {
    type, population, sustain_s: sustain, also, context, consecutive, requires = [],
  } = rule;
  const who = population ? wordOf('population', population, t) : '';
  if (type !== 'threshold') return listed([wordOf('rule_type', type, t), who]);
  return listed([
    limit(rule, t), sustain ? t('age.s', { s: sustain }) : '',
    also ? alsoText(limit(also, t), also.window_s, t) : '',
    context?.meal ? wordOf('meal', context.meal, t) : '', whenText(rule, t),
    consecutive > 1 ? t('rules.in_a_row', { n: consecutive }) : '',
    ...requires.map((one) => wordOf('requirement', one, t)), who,
  ]);
}

/** No line ends within a limit: `≥ 3 mmol/L`. */
export const together = (...parts) => parts.filter((part) => part !== '').join('\u00a0');

/** `且 血酮 ≥ 3 mmol/L(1 小时内)` */
export function alsoText(what, seconds, t) {
  const hours = seconds / 3600;
  const age = Number.isInteger(hours) ? t('limits.hours', { n: hours }) : ageText(seconds * 1000, t, true);
  return t('rules.also', { what, age });
}

/** `中`; of one that rises each step, and when: `低 → 中 · 2 分钟后 · 监护中`; and what it is for a critical drug. */
export function priorityText(rule, t) {
  const { priority, steps = [], promote_on_confirm: confirmed } = rule;
  const rises = [
    ...(priority ? [stepText(rule, t)] : steps.map((step) => listed([
      stepText(step, t), step.threshold ? limit({ ...step, unit: rule.unit }, t) : '',
      afterText(step, t), whenText(step, t),
    ]))),
    confirmed ? listed([wordOf('priority', confirmed.to, t), t('rules.on_recheck')]) : '',
  ];
  return rises.filter(Boolean).join(' → ');
}

/** `低(重点药物:中)` */
function stepText({ priority, critical_drug_priority: critical }, t) {
  const word = wordOf('priority', priority, t);
  return critical ? t('rules.critical_drug', { priority: word, critical: wordOf('priority', critical, t) }) : word;
}

const listed = (parts) => parts.filter(Boolean).join(' · ');

function limit({
  class: of, op, threshold: { base, per_year: perYear }, unit,
}, t) {
  const number = perYear ? `${base} + ${perYear} × ${t('rules.age')}` : base;
  return `${of ? wordOf('class', of, t) : ''} ${together(OPS[op] || op, number, unitText(unit, t))}`.trim();
}

function afterText({ after_s: seconds, after_intervals: intervals }, t) {
  if (!seconds) return '';
  const age = ageText(seconds * 1000, t, true);
  return intervals ? t('rules.after_intervals', { age, n: intervals }) : t('rules.after', { age });
}

const whenText = ({ when = {} }, t) => listed(Object.keys(when).filter((name) => when[name])
  .map((name) => wordOf('when', name, t)));
