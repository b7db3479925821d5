// One trend on a canvas: lines with their extremes, bars of blood pressure, shapes of glucose; read
// out by pointer and keys.

import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { shortTime, timeSeconds } from './format.js';
import { t } from './i18n.js';
import { between, putLine } from './number.js';
import * as layout from './trend-layout.js';

const LEFT_PX = 40;
const RIGHT_PX = 10;
const HEIGHT_PX = 132;
const FOOT_PX = 34;
const HOUR_MS = 3_600_000;
const MARK_PX = 4;
/** So long is the stem of a bar of which one end is known. */
const STEM_PX = 9;
/** Nearer than this hollow points would look like a line. */
const HOLLOW_APART_PX = 7;
/** A word or number beside a mark is no wider. */
const WORD_PX = 40;
/** The line of each metric where a plot has several: as `trend.line.0` and so on call them. */
export const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

export class Plot {
  /** `onZoom(from, to)`: this stretch is to be shown closer. */
  constructor(plot, { onZoom }) {
    this.onZoom = onZoom;
    this.axis = layout.axisOf(plot);
    this.data = null;
    this.at = -1;
    this.name = h('span', { class: 'plot-name' });
    this.band = h('span', { class: 'plot-band' });
    this.readout = h('p', { class: 'readout', 'aria-live': 'polite' });
    this.canvas = h('canvas', {
      role: 'img',
      tabindex: '0',
      onpointermove: (event) => this.point(event),
      onpointerdown: (event) => this.point(event),
      onkeydown: (event) => this.key(event),
      ondblclick: (event) => this.closer(this.timeOf(event)),
    });
    this.canvas.style.height = `${HEIGHT_PX + FOOT_PX}px`;
    this.element = h('figure', { class: 'plot', 'data-metric': plot },
      h('figcaption', {}, this.name, this.band), this.canvas, this.readout);
    this.wide = 0;
    // Asking for the width at any other time would lay out the whole page.
    this.observer = new ResizeObserver(() => {
      this.wide = this.element.clientWidth;
      this.draw();
    });
    this.observer.observe(this.element);
  }

  /** It is shown no more. */
  leave() {
    this.observer.disconnect();
  }

  /**
   * `data`: `from`, `to`, `stepMs`, `lines` (points of each series and their `dash`), `marks` (points of results),
   * `alerts` (moments with a priority), `bands`, `aims` (lines with a label), `limits`, and the words `name` and `band`.
   */
  show(data) {
    this.data = data;
    this.items = [...data.lines.flatMap(({ points }) => points), ...data.marks].sort((a, b) => a.at - b.at);
    if (this.at >= this.items.length) this.at = -1;
    put(this.name, data.name);
    put(this.band, data.band);
    set(this.element, 'data-points', this.items.length);
    set(this.element, 'data-hollow', this.items.filter((item) => item.hollow).length);
    this.said();
    this.drawn = '';
    this.draw();
  }

  /** Draws where something changed: data, width, theme. */
  draw() {
    const width = Math.max(200, this.wide);
    const ratio = window.devicePixelRatio || 1;
    const state = [width, ratio, document.documentElement.dataset.theme, this.at].join();
    if (!this.data || !this.wide || state === this.drawn || !this.element.isConnected) return;
    this.drawn = state;
    this.width = width - LEFT_PX - RIGHT_PX;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round((HEIGHT_PX + FOOT_PX) * ratio);
    this.canvas.style.width = `${width}px`;
    const context = this.canvas.getContext('2d');
    const style = getComputedStyle(this.element);
    this.colour = (name) => style.getPropertyValue(name).trim();
    context.setTransform(ratio, 0, 0, ratio, LEFT_PX * ratio, 8 * ratio);
    this.paper(context);
    this.bands(context);
    // One line's extremes must not hide another line.
    for (const line of this.data.lines) this.shade(context, line);
    for (const line of this.data.lines) this.line(context, line);
    for (const mark of this.data.marks) this.mark(context, mark);
    this.alerts(context);
    const item = this.items[this.at];
    if (item) {
      context.fillStyle = this.colour('--focus');
      context.fillRect(this.x(item.at) - 0.5, 0, 1, HEIGHT_PX - 8);
    }
  }

  x(atMs) {
    return layout.xOf(atMs, this.data, this.width);
  }

  y(value) {
    return layout.yOf(value, this.axis, HEIGHT_PX - 8);
  }

  paper(context) {
    context.font = '12px sans-serif';
    context.textBaseline = 'middle';
    for (const tick of this.axis.ticks) {
      const { y } = this.y(tick);
      context.fillStyle = this.colour('--line');
      context.fillRect(0, y, this.width, 1);
      context.fillStyle = this.colour('--quiet');
      context.textAlign = 'right';
      context.fillText(String(tick), -5, y);
    }
    const { from, to } = this.data;
    const step = to - from > 3 * HOUR_MS ? 4 * HOUR_MS : HOUR_MS / 12;
    context.textAlign = 'center';
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      context.fillStyle = this.colour('--line');
      context.fillRect(this.x(at), 0, 1, HEIGHT_PX - 8);
      context.fillStyle = this.colour('--quiet');
      const inner = Math.min(this.width - 14, Math.max(14, this.x(at)));
      context.fillText(timeSeconds(at).slice(0, 5), inner, HEIGHT_PX + 12);
    }
  }

  bands(context) {
    for (const { low, high, zone } of this.data.bands) {
      const top = this.y(high).y;
      context.fillStyle = this.colour({ red: '--zone', deep: '--zone-deep' }[zone] || '--band');
      context.fillRect(0, top, this.width, this.y(low).y - top);
    }
    context.fillStyle = this.colour('--quiet');
    context.textAlign = 'left';
    // Of two that are near each other one is named above its line, the other below.
    this.data.aims.forEach(({ value, label }, index) => {
      const { y } = this.y(value);
      context.fillRect(0, y, this.width, 1.5);
      context.fillText(label, 4, index ? y + 10 : y - 7);
    });
    context.setLineDash([5, 4]);
    for (const { value, priority } of this.data.limits) {
      const { y, out } = this.y(value);
      if (out) continue;
      context.strokeStyle = this.colour(priority === 'high' ? '--limit-high' : '--limit');
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(this.width, y);
      context.stroke();
    }
    context.setLineDash([]);
  }

  shade(context, { points }) {
    context.fillStyle = this.colour('--shade');
    for (const run of layout.runs(points, this.data.stepMs)) {
      context.beginPath();
      for (const point of run) context.lineTo(this.x(point.at), this.y(point.max).y);
      for (const point of [...run].reverse()) {
        context.lineTo(this.x(point.at), this.y(point.min).y);
      }
      context.fill();
    }
  }

  line(context, { points, dash }) {
    for (const run of layout.runs(points, this.data.stepMs)) {
      context.strokeStyle = this.colour('--curve');
      context.lineWidth = 1.5;
      context.setLineDash(dash);
      context.beginPath();
      for (const point of run) context.lineTo(this.x(point.at), this.y(point.value).y);
      context.stroke();
      context.setLineDash([]);
      let lastX = -Infinity;
      for (const point of run) {
        if (point.hollow && this.x(point.at) - lastX >= HOLLOW_APART_PX) {
          this.shape(context, 'circle', point, true, 2.5);
          lastX = this.x(point.at);
        }
        if (run.length === 1 && !point.hollow) this.shape(context, 'circle', point, false, 2);
        if (this.y(point.max).out > 0) this.beyond(context, point, 1);
        if (this.y(point.min).out < 0) this.beyond(context, point, -1);
      }
    }
  }

  /** It lies beyond the axis. */
  beyond(context, point, out) {
    context.fillStyle = this.colour('--limit-high');
    context.textAlign = 'center';
    context.fillText(out > 0 ? '▲' : '▼', this.x(point.at), out > 0 ? 5 : HEIGHT_PX - 14);
  }

  mark(context, mark) {
    if (mark.bar) {
      this.bar(context, mark);
      return;
    }
    this.shape(context, mark.shape, mark, mark.hollow, MARK_PX);
    if (mark.edge || this.y(mark.value).out) {
      this.beside(context, mark.at, mark.value, mark.edge ?? mark.value);
    }
  }

  /** What a mark at the edge is really: a word, or a number that is beyond the axis. */
  beside(context, at, value, what) {
    const { y, out } = this.y(value);
    const text = typeof what === 'number' ? `${out > 0 ? '↑' : '↓'}${what}` : what;
    // Beside the last one there is no room.
    const side = this.x(at) > this.width - WORD_PX ? -1 : 1;
    context.fillStyle = this.colour('--text');
    context.textAlign = side > 0 ? 'left' : 'right';
    context.fillText(text, this.x(at) + side * 8, Math.min(HEIGHT_PX - 16, Math.max(8, y)));
  }

  /** Systolic to diastolic with a tick for the mean; arrows where it is outside the band. */
  bar(context, { at, bar, hollow }) {
    const x = this.x(at);
    const isWhole = bar.sys !== null && bar.dia !== null;
    const [top, bottom] = this.ends(bar);
    context.strokeStyle = this.colour('--curve');
    context.fillStyle = this.colour('--curve');
    context.lineWidth = 1.5;
    if (isWhole && hollow) context.strokeRect(x - 2.5, top, 5, bottom - top);
    else if (isWhole) context.fillRect(x - 2.5, top, 5, bottom - top);
    else if (bottom > top) {
      // The end that is known, and a stem towards the other.
      context.setLineDash(hollow ? [2, 2] : []);
      context.strokeRect(x, top, 0, bottom - top);
      context.setLineDash([]);
      context.fillRect(x - 6, bar.sys === null ? bottom - 2 : top, 12, 2);
    }
    if (bar.mean !== null) context.fillRect(x - 6, this.y(bar.mean).y - 1, 12, 2);
    context.fillStyle = this.colour('--text');
    context.textAlign = 'center';
    if (bar.above) context.fillText('▲', x, Math.max(5, top - 7));
    if (bar.below) context.fillText('▼', x, Math.min(HEIGHT_PX - 12, bottom + 8));
    for (const value of [bar.sys, bar.dia]) {
      if (value !== null && this.y(value).out) this.beside(context, at, value, value);
    }
  }

  /** Where a bar begins and ends; of no pressure but the mean there is none. */
  ends({ sys, dia, mean }) {
    if (sys === null && dia === null) return [this.y(mean).y, this.y(mean).y];
    if (sys === null) return [this.y(dia).y - STEM_PX, this.y(dia).y];
    if (dia === null) return [this.y(sys).y, this.y(sys).y + STEM_PX];
    return [this.y(sys).y, this.y(dia).y];
  }

  shape(context, shape, point, hollow, size) {
    const [x, { y }] = [this.x(point.at), this.y(point.value)];
    context.beginPath();
    if (shape === 'circle' || shape === 'ring') context.arc(x, y, size, 0, 2 * Math.PI);
    else if (shape === 'square') context.rect(x - size, y - size, 2 * size, 2 * size);
    else {
      const corners = shape === 'triangle' ? [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]]
        : [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]];
      for (const [dx, dy] of corners) context.lineTo(x + dx * size, y + dy * size);
      context.closePath();
    }
    context.lineWidth = 1.5;
    context.strokeStyle = this.colour('--curve');
    context.fillStyle = this.colour(hollow || shape === 'ring' ? '--panel' : '--curve');
    context.fill();
    // What came late is dashed too: a ring is a shape of its own.
    if (hollow && shape !== 'circle') context.setLineDash([2, 2]);
    context.stroke();
    context.setLineDash([]);
  }

  /** A tick for each alert, under the axis. */
  alerts(context) {
    for (const alert of this.data.alerts) {
      const x = this.x(alert.at);
      if (x < 0 || x > this.width) continue;
      context.fillStyle = this.colour(`--${alert.priority}`);
      context.fillRect(x - 1.5, HEIGHT_PX - 7, 3, 9);
      context.strokeStyle = this.colour('--text');
      context.lineWidth = 0.5;
      context.strokeRect(x - 1.5, HEIGHT_PX - 7, 3, 9);
    }
  }

  timeOf(event) {
    const { from, to } = this.data;
    const x = event.clientX - this.canvas.getBoundingClientRect().left - LEFT_PX;
    return from + (x / this.width) * (to - from);
  }

  point(event) {
    if (this.data) this.choose(layout.nearest(this.items, this.timeOf(event)));
  }

  /** Half an hour around a moment, every reading of it. */
  closer(middle) {
    this.onZoom(middle - HOUR_MS / 4, middle + HOUR_MS / 4);
  }

  key(event) {
    const chosen = this.items?.[this.at];
    if (event.key === 'Enter' && chosen) {
      event.preventDefault();
      this.closer(chosen.at);
      return;
    }
    const last = this.items ? this.items.length - 1 : -1;
    const at = this.at < 0 ? last : null;
    const next = {
      ArrowLeft: at ?? this.at - 1, ArrowRight: at ?? this.at + 1, Home: 0, End: last,
    }[event.key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    this.choose(Math.min(last, Math.max(0, next)));
  }

  choose(index) {
    if (index === this.at) return;
    this.at = index;
    this.said();
    this.draw();
  }

  /** The chosen value, else the newest one, in words. */
  said() {
    const item = this.items[this.at] || this.items[this.items.length - 1];
    putLine(this.readout, item ? between([
      [item.name || ''], item.pieces, [shortTime(item.at, clock.serverNow())], [item.device || ''],
      ...(item.words || []),
      [item.doubts],
      [item.hollow ? t('trend.backfilled') : ''],
    ], ' · ') : [t('trend.none')]);
    set(this.canvas, 'aria-label', `${this.data.name}: ${this.readout.textContent}`);
  }
}
