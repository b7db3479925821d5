// How the values of a class lay in a time: what somebody sees who thinks about another limit.
// Pure: every number of it was measured.

/**
 * Lowest, a tenth, the middle, nine tenths, highest, each with its metric and moment; `null` where
 * nothing was measured.
 */
export function spreadOf(trend, patient, classOf, name) {
  const isOf = ({ metric }) => classOf(metric) === name;
  const repeated = trend.series.filter(isOf)
    .flatMap(({ metric, points }) => points.map((point) => ({ metric, point })));
  const results = trend.results.flatMap(({ readings }) => readings)
    .filter((reading) => isOf(reading) && reading.patient === patient)
    .filter((reading) => reading.canonical_value && !reading.comparator);
  const sorted = (values) => [...values].sort((a, b) => Number(a.text) - Number(b.text));
  const values = results.map((reading) => ({
    text: reading.canonical_value, metric: reading.metric, at: reading.measured_time,
  }));
  const of = (...names) => repeated.flatMap(({ metric, point }) => (
    names.map((one) => ({ text: point[one], metric, at: point.at }))));
  const middles = sorted([...of('median'), ...values]);
  if (!middles.length) return null;
  const ends = sorted([...of('min', 'max'), ...values]);
  const at = (part) => middles[Math.round((middles.length - 1) * part)];
  return {
    min: ends[0], low: at(0.1), median: at(0.5), high: at(0.9), max: ends[ends.length - 1],
  };
}
