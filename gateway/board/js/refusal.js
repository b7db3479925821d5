// Why the county refused something, in the person's language.

import { wordOf } from './format.js';
import { t } from './i18n.js';

/** By the county's word for it; a county that says a word which the board does not know says it in English. */
export function refusalText({ problem, message }) {
  const key = `refusal.${problem.code}`;
  if (!t.has(key)) return message;
  const roles = (problem.roles || []).map((role) => wordOf('role', role, t)).join(t('signs.and'));
  const mistakes = problem.mistakes || [];
  return t(key, {
    ...problem,
    by: problem.by ?? problem.acknowledged_by,
    roles,
    n: mistakes.length,
    mistakes: mistakes.map(mistakeText).join('\n'),
  });
}

/** One mistake of a rule set, on a line of its own. */
function mistakeText(mistake) {
  const key = `rule_mistake.${mistake.code}`;
  const what = t.has(key) ? t(key, mistake) : mistake.text;
  return t('rule_mistake.line', { line: mistake.line, rule: mistake.rule, what });
}
