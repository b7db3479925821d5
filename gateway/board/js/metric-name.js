// What a metric is called: by the word of nurses, of what they never speak of by the catalogue's.

import { either, t } from './i18n.js';
import { store } from './store.js';

export function metricName(metric) {
  const own = `metric.${metric}`;
  if (t.has(own)) return t(own);
  const known = store.catalogue.get(metric);
  return known ? either(known.name_zh, known.name_en) : metric || '';
}
