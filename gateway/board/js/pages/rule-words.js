// A rule's condition as people write it. Pure; words come in through `t`.

import { unitText, wordOf } from '../format.js';

const OPS = { '<': '<', '<=': '≤', '>': '>', '>=': '≥' };

/** `心率 < 40 次/分 · 10 秒`; what is not a threshold is named by its kind. */
export function condition(rule, t) {
  const who = rule.population ? wordOf('population', rule.population, t) : '';
  if (rule.type !== 'threshold') return [wordOf('rule_type', rule.type, t), who].filter(Boolean).join(' · ');
  const { base, per_year: perYear } = rule.threshold;
  const limit = perYear ? `${base} + ${perYear} × ${t('rules.age')}` : base;
  const text = `${wordOf('class', rule.class, t)} ${OPS[rule.op] || rule.op} ${limit} ${unitText(rule.unit, t)}`;
  const sustain = rule.sustain_s ? t('age.s', { s: rule.sustain_s }) : '';
  return [text.trim(), sustain, who].filter(Boolean).join(' · ');
}
