// When a device was on nobody, or on a patient, as the county's list of its bindings has it. Pure.

/** Whether at that moment the device was on this patient; `null` is nobody. */
export function wasOn(bindings, patient, atMs) {
  const then = bindings.find((one) => Date.parse(one.from) <= atMs
    && (one.until === null || atMs < Date.parse(one.until)));
  return (then?.patient ?? null) === (patient ?? null);
}

/** The trend of a device without what was measured while it was on a patient. */
export function nobodysTrend(trend, bindings) {
  const stepMs = trend.step_s * 1000;
  const isNobodys = ({ at }) => [0, stepMs - 1]
    .every((later) => wasOn(bindings, null, Date.parse(at) + later));
  return {
    ...trend,
    series: trend.series
      .map((series) => ({ ...series, points: series.points.filter(isNobodys) }))
      .filter(({ points }) => points.length),
    results: trend.results.filter(({ readings: [first], moves }) => (
      first && (first.patient === null || moves.some(({ from }) => from === null)))),
  };
}

/** Several trends of the same time as one. */
export function together(trends) {
  return {
    ...trends[0],
    series: trends.flatMap(({ series }) => series),
    results: trends.flatMap(({ results }) => results)
      .sort((a, b) => Date.parse(a.readings[0].measured_time)
        - Date.parse(b.readings[0].measured_time)),
  };
}
