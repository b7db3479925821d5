import assert from 'node:assert/strict';
import test from 'node:test';
import { spreadOf } from '../js/spread.js';

const classOf = (metric) => metric.split('_')[0];

test('a spread is of what was measured of the class, of this patient, by value and not as text', () => {
  const point = (median, minute) => ({
    at: `09:${minute}`, min: String(median - 1), median: String(median), max: String(median + 3),
  });
  const result = (value, fields = {}) => ({
    readings: [{
      metric: 'spo2_spot', canonical_value: value, comparator: null, patient: 'p', measured_time: '10:00', ...fields,
    }],
  });
  const trend = {
    series: [
      { metric: 'spo2', points: [88, 99, 90, 91, 92, 93, 94, 95, 96, 100].map(point) },
      { metric: 'hr', points: [point(200)] },
    ],
    results: [result('86'), result('70', { patient: 'q' }), result('60', { comparator: '<' })],
  };
  const number = (text, minute) => ({ text, metric: 'spo2', at: `09:${minute}` });
  assert.deepEqual(spreadOf(trend, 'p', classOf, 'spo2'), {
    min: { text: '86', metric: 'spo2_spot', at: '10:00' },
    low: number('88', 0),
    median: number('93', 5),
    high: number('99', 1),
    max: number('103', 9),
  });
  assert.equal(spreadOf(trend, 'p', classOf, 'temp'), null);
});
