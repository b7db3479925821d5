// How the values of a class lay in a time: what somebody sees who thinks about another limit.
// Pure: every number of it was measured.

/** Lowest, a tenth, the middle, nine tenths, highest; `null` where nothing was measured. */
export function spreadOf(trend, patient, classOf, name) {
  const of = ({ metric }) => classOf(metric) === name;
  const repeated = trend.series.filter(of).flatMap(({ points }) => points);
  const results = trend.results.flatMap(({ readings }) => readings)
    .filter((reading) => of(reading) && reading.patient === patient)
    .filter((reading) => reading.canonical_value && !reading.comparator);
  const sorted = (texts) => [...texts].sort((a, b) => Number(a) - Number(b));
  const values = results.map((reading) => reading.canonical_value);
  const middles = sorted([...repeated.map(({ median }) => median), ...values]);
  if (!middles.length) return null;
  const ends = sorted([...repeated.flatMap(({ min, max }) => [min, max]), ...values]);
  const at = (part) => middles[Math.round((middles.length - 1) * part)];
  return {
    min: ends[0], low: at(0.1), median: at(0.5), high: at(0.9), max: ends[ends.length - 1],
  };
}
