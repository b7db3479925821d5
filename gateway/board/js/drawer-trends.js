// The trends of a patient or device: a day by default, closer on a double click.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { shortTime, shownValue, unitText } from './format.js';
import { t } from './i18n.js';
import { marksOf } from './judged.js';
import { showsKpa, toggleKpa } from './kpa.js';
import { metricName } from './metric-name.js';
import {
  between, kpaPieces, numberAt, numberOf,
} from './number.js';
import { store } from './store.js';
import * as layout from './trend-layout.js';
import { DASHES, Plot } from './trend-plot.js';

const DAY_MS = 24 * 3_600_000;
const STEP_S = 60;
/** Of this long and shorter every reading of a second has a point of its own. */
const RAW_MS = 31 * 60_000;

export class Trends {
  /** `onAsk()`: another stretch of time is wanted. */
  constructor({ onAsk }) {
    this.onAsk = onAsk;
    this.zoom = null;
    this.plots = new Map();
    this.heading = h('h3');
    this.explain = h('span', { class: 'quiet' });
    this.whole = h('button', { onclick: () => this.closer(null) });
    this.kpa = h('button', {
      class: 'kpa-option',
      onclick: () => {
        toggleKpa();
        this.onAsk();
      },
    });
    this.note = h('p', { class: 'quiet' });
    this.body = h('div', { class: 'plots' });
    this.element = h('section', { class: 'trends' },
      h('div', { class: 'part-head' }, this.heading, this.explain, this.kpa, this.whole), this.note, this.body);
  }

  closer(zoom) {
    this.zoom = zoom;
    this.onAsk();
  }

  clear() {
    this.zoom = null;
    for (const plot of this.plots.values()) plot.leave();
    this.plots.clear();
    this.body.replaceChildren();
  }

  /** What the county is asked for. */
  asked(of) {
    const to = this.zoom ? this.zoom.to : clock.serverNow();
    const from = this.zoom ? this.zoom.from : to - DAY_MS;
    const step = to - from <= RAW_MS ? 1 : STEP_S;
    return {
      ...of, step, from: new Date(from).toISOString(), to: new Date(to).toISOString(),
    };
  }

  /** `trend` as the county has it, `whole` the patient, `alerts` those of this time. */
  show(trend, whole, alerts) {
    const patient = whole?.patient || null;
    const classOf = (metric) => store.catalogue.get(metric)?.class || '';
    const marks = layout.resultPoints(trend.results, patient);
    const shown = layout.PLOTS.filter((plot) => trend.series
      .some((series) => layout.plotOf(classOf(series.metric)) === plot)
      || marks.some((mark) => layout.plotOf(classOf(mark.reading.metric)) === plot));
    const data = { trend, whole, alerts, marks, classOf };
    arrange(this.body, shown.map((plot) => {
      if (!this.plots.has(plot)) {
        const onZoom = (from, to) => this.closer({ from, to });
        this.plots.set(plot, new Plot(plot, { onZoom }));
      }
      return this.plots.get(plot).element;
    }));
    for (const plot of shown) this.plots.get(plot).show(this.data(plot, data));
    put(this.note, shown.length ? '' : t(this.zoom ? 'trend.nothing_closer' : 'trend.nothing'));
  }

  data(plot, {
    trend, whole, alerts, marks, classOf,
  }) {
    const of = (metric) => layout.plotOf(classOf(metric)) === plot;
    const series = trend.series.filter((one) => of(one.metric));
    const own = marks.filter((mark) => of(mark.reading.metric));
    const metricsOf = (some) => [...new Set(some.map(({ metric }) => metric))];
    const drawn = metricsOf(series);
    const metrics = plot === 'nibp' ? [plot] : metricsOf([...series, ...own.map(({ reading }) => reading)]);
    // Of several each says which it is: pulse and heart rate differ just when it matters.
    const nameOf = (metric) => (metrics.length > 1 ? metricName(metric) : '');
    const unit = unitText(series[0]?.unit || shownValue(own[0]?.reading || {}).unit, t);
    const lines = series.map((one) => ({
      points: named(layout.pointsOf(one), one, unit)
        .map((point) => ({ ...point, name: nameOf(one.metric) })),
      dash: DASHES[drawn.indexOf(one.metric) % DASHES.length],
    }));
    const limits = (whole?.limits_in_force || [])
      .filter((limit) => layout.plotOf(limit.class) === plot && /^(hr|spo2|rr)$/.test(plot))
      .map((limit) => ({ value: Number(limit.value), priority: limit.priority }));
    const { bands, band, ...rest } = bandsOf(plot, whole);
    return {
      from: Date.parse(trend.from),
      to: Date.parse(trend.to),
      stepMs: trend.step_s * 1000,
      name: `${metrics.map(metricName).join(' / ')} ${unit}`,
      band: [legend(drawn), band].filter(Boolean).join(' · '),
      bands,
      aims: rest.aims ?? [],
      limits,
      lines,
      marks: plot === 'nibp' ? pressureMarks(own, rest) : own.map((mark) => ({
        ...pointMark(plot, mark), name: nameOf(mark.reading.metric),
      })),
      alerts: alerts.map((alert) => ({
        at: Date.parse(alert.started_at), priority: alert.priority,
      })),
    };
  }

  draw() {
    put(this.heading, this.zoom ? t('trend.heading_closer', spanOf(this.zoom)) : t('trend.heading'));
    const isTouch = window.matchMedia('(pointer: coarse)').matches;
    put(this.explain, t(isTouch ? 'trend.touch' : 'trend.keys'));
    put(this.kpa, t('trend.kpa'));
    set(this.kpa, 'aria-pressed', String(showsKpa()));
    put(this.whole, t('trend.whole'));
    set(this.whole, 'hidden', !this.zoom);
    for (const plot of this.plots.values()) plot.draw();
  }
}

/** From when to when, with the date of what is not today. */
function spanOf({ from, to }) {
  return { from: shortTime(from, clock.serverNow()), to: shortTime(to, from) };
}

/** Which line is whose, where there are several. */
function legend(metrics) {
  return metrics.length < 2 ? '' : metrics.map((metric, index) => (
    t(`trend.line.${index % DASHES.length}`, { name: metricName(metric) }))).join(' · ');
}

/** Points with what is read out: the middle, and the extremes where they differ. */
function named(points, series, unit) {
  return points.map((point) => {
    const [median, min, max] = point.texts.map((text) => numberAt(text, series.metric, point.at, series));
    const extremes = min.text === max.text ? [] : [' (', min, '–', max, ')'];
    return {
      ...point,
      pieces: between([[median, ...extremes], [unit]], ' '),
      doubts: point.doubted ? t('validity.questionable') : '',
    };
  });
}

/** Whose aim it is, and its version: it is the board's own and not of the rules that are live. */
function aimText(name) {
  return [name && t(`trend.programme.${name}`), t('trend.aims', { version: layout.AIMS_VERSION })]
    .filter(Boolean).join(' · ');
}

function bandsOf(plot, whole) {
  if (plot === 'nibp') {
    const aim = layout.pressureBands(whole);
    if (!aim) return { bands: [], band: t('trend.no_band'), aim };
    const lines = aim.lines.map((value) => ({ low: value - 0.4, high: value + 0.4, zone: 'red' }));
    return {
      bands: [{ low: aim.dia, high: aim.sys, zone: 'aim' }, ...lines],
      band: [t('trend.aim_pressure', { sys: aim.sys, dia: aim.dia }),
        aimText(aim.name)].join(' · '),
      aim,
    };
  }
  if (plot !== 'glucose') return { bands: [], band: '' };
  const { fasting, meal, red, name, twoHours } = layout.glucoseBands(whole);
  return {
    bands: [...red.map(([low, high, zone]) => ({ low, high, zone })),
      { low: fasting[0], high: fasting[1], zone: 'aim' }],
    band: [t(twoHours ? 'trend.aim_glucose_pregnant' : 'trend.aim_glucose', {
      low: fasting[0], high: fasting[1], meal: meal.toFixed(1), two: twoHours || '',
    }), aimText(name), t('trend.shapes')].join(' · '),
    // A square is two hours after a meal; in pregnancy an hour after it has an aim of its own.
    aims: twoHours
      ? [{ value: meal, label: t('trend.after_an_hour', { meal: meal.toFixed(1) }) },
        { value: twoHours, label: `■ < ${twoHours.toFixed(1)}` }]
      : [{ value: meal, label: `■ < ${meal.toFixed(1)}` }],
  };
}

/** One bar for each inflation. */
function pressureMarks(marks, { aim }) {
  const groups = new Map();
  for (const mark of marks) groups.set(mark.group, mark.at);
  return [...groups].map(([group, at]) => {
    const parts = ['sys', 'dia', 'mean'].map((name) => pressureOf(group, `nibp_${name}`));
    const [sys, dia, mean] = parts.map((one) => one && Number(one.canonical_value ?? one.value));
    const [high, low, middle] = parts.map((one) => one && numberOf(one));
    const first = group[0];
    return {
      at,
      value: sys ?? dia ?? mean,
      bar: {
        sys, dia, mean, ...layout.besideAim({ sys, dia }, aim),
      },
      pieces: [high ?? '--', '/', low ?? '--', ...(middle ? [' (', middle, ')'] : []), ' mmHg'],
      words: [kpaPieces(high, low)],
      device: first.device,
      hollow: first.backfilled,
      doubts: marksOf(group),
    };
  });
}

/** What a result has of a metric; `null` where there is no number that may be shown. */
function pressureOf(readings, metric) {
  const one = readings.find((reading) => reading.metric === metric);
  return !one || one.value === null || one.validity === 'invalid' ? null : one;
}

function pointMark(plot, { at, reading }) {
  const { unit } = shownValue(reading);
  const meal = reading.context?.meal;
  const edge = { '<': 'Lo', '>': 'Hi' }[reading.comparator] || null;
  const glucose = plot === 'glucose';
  return {
    at,
    value: Number(reading.canonical_value ?? reading.value),
    shape: glucose ? layout.mealShape(meal) : 'circle',
    edge: glucose ? edge : null,
    pieces: between([[numberOf(reading)], [unitText(unit, t)]], ' '),
    words: glucose ? [[t(t.has(`meal.${meal}`) ? `meal.${meal}` : 'meal.meal_casual')]] : [],
    device: reading.device,
    hollow: reading.backfilled,
    doubts: marksOf([reading]),
  };
}
