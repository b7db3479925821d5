// Where a measured value lies on a trend, and what is around it (nurse board, chapter 6). Pure.

/** The y-axis of each class, always the same: a shape means the same every day. */
const AXES = {
  hr: [20, 220], spo2: [60, 100], rr: [0, 60], temp: [34, 42], glucose: [0, 30],
  nibp: [30, 230], etco2: [0, 80], perf_index: [0, 20], weight: [0, 150], pump_rate: [0, 200],
};
/** Steps of the axis that are printed. */
const TICKS = {
  hr: 40, spo2: 10, rr: 10, temp: 1, glucose: 5, nibp: 40, etco2: 20, perf_index: 5, weight: 50,
  pump_rate: 50,
};
/** A systolic pressure below this is too low for whoever has an aim. */
const LOW_SYS = 90;
/** A line ends where more than this many steps are without a value. */
const GAP_STEPS = 2.5;

/** The plot of a class of metrics; `null`: none. */
export function plotOf(name) {
  if (/^nibp_(sys|dia|mean)$/.test(name)) return 'nibp';
  return Object.prototype.hasOwnProperty.call(AXES, name) ? name : null;
}

/** The plots in the order in which they stand. */
export const PLOTS = [
  'hr', 'spo2', 'rr', 'nibp', 'glucose', 'temp', 'etco2', 'perf_index', 'pump_rate', 'weight',
];

export function axisOf(plot) {
  const [low, high] = AXES[plot];
  const ticks = [];
  for (let at = Math.ceil(low / TICKS[plot]) * TICKS[plot]; at <= high; at += TICKS[plot]) {
    ticks.push(at);
  }
  return { low, high, ticks };
}

/** The height of a value; `out` is -1 or 1 where it lies beyond the axis and is drawn at its edge. */
export function yOf(value, axis, heightPx) {
  const share = (value - axis.low) / (axis.high - axis.low);
  const within = Math.min(1, Math.max(0, share));
  return { y: (1 - within) * heightPx, out: Number(share > 1) - Number(share < 0) };
}

export function xOf(atMs, { from, to }, widthPx) {
  return ((atMs - from) / (to - from)) * widthPx;
}

/** Runs of points without a gap between them. */
export function runs(points, stepMs) {
  const found = [];
  for (const point of points) {
    const run = found[found.length - 1];
    if (run && point.at - run[run.length - 1].at <= stepMs * GAP_STEPS) run.push(point);
    else found.push([point]);
  }
  return found;
}

/** Points of a series of the API, with numbers to draw and their texts as they are printed. */
export function pointsOf(series) {
  return series.points.map((point) => ({
    at: Date.parse(point.at),
    min: Number(point.min),
    value: Number(point.median),
    max: Number(point.max),
    texts: [point.median, point.min, point.max],
    hollow: point.backfilled,
    doubted: point.doubted,
    device: series.device,
    metric: series.metric,
  }));
}

/** The shape of a glucose value, by when it was taken. */
export function mealShape(meal) {
  return {
    meal_fast: 'circle', meal_pre: 'triangle', meal_post: 'square', meal_bed: 'diamond',
  }[meal] || 'ring';
}

/** Of the aims below, which are the board's own (nurse board, chapter 6): one more with each other number. */
export const AIMS_VERSION = 2;

/** Bands of blood pressure for a patient: the aim of the programme, and where it is serious. */
export function pressureBands(patient) {
  if (!patient) return { name: null, sys: 140, dia: 90, lines: [] };
  const groups = patient.groups || [];
  if (groups.includes('pregnant')) {
    return { name: 'pregnant', sys: 140, dia: 90, lines: [160, 110] };
  }
  if (groups.includes('child')) return null;
  // As the follow-up rules have it: from 65 years on age decides, diabetes or not.
  if (groups.includes('elderly')) return { name: 'elderly', sys: 150, dia: 90, lines: [] };
  if (patient.diabetes) return { name: 'diabetes', sys: 130, dia: 80, lines: [] };
  return { name: 'general', sys: 140, dia: 90, lines: [] };
}

/** Where a pressure is outside of what it is aimed at; where there is no aim nothing is. */
export function besideAim({ sys, dia }, aim) {
  const isAbove = (number, most) => number !== null && number >= most;
  return {
    above: Boolean(aim) && (isAbove(sys, aim.sys) || isAbove(dia, aim.dia)),
    below: Boolean(aim) && sys !== null && sys < LOW_SYS,
  };
}

/** Aims of glucose, by patient: `[low, high]` fasting, the highest after a meal, red zones. */
export function glucoseBands(patient) {
  const pregnant = (patient?.groups || []).includes('pregnant');
  const [fasting, meal] = pregnant ? [[3.9, 5.3], 7.8] : [[3.9, 7.0], 10.0];
  return {
    name: pregnant ? 'pregnant' : 'general', fasting, meal, twoHours: pregnant ? 6.7 : null,
    red: [[0, 3.0, 'deep'], [3.0, 3.9, 'red'], [16.7, 30, 'red']],
  };
}

/** The result that is nearest to a moment; -1 where there is none. */
export function nearest(items, atMs) {
  let best = -1;
  items.forEach((item, index) => {
    const closer = best < 0 || Math.abs(item.at - atMs) < Math.abs(items[best].at - atMs);
    if (closer) best = index;
  });
  return best;
}

/** Readings of results as points, of this patient or (`null`) nobody: what was moved elsewhere is no point. */
export function resultPoints(results, patient) {
  const found = [];
  for (const { readings } of results) {
    const [first] = readings;
    if (!first || first.patient !== patient) continue;
    const numbers = readings.filter((one) => one.value !== null && one.validity !== 'invalid');
    for (const reading of numbers) {
      found.push({ at: Date.parse(reading.measured_time), reading, group: readings });
    }
  }
  return found;
}
