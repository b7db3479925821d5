// A strip that stands still: what was just seen, or a minute around an alert; calipers, print.

import { message } from './alert-words.js';
import * as api from './api.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { dateTimeSeconds } from './format.js';
import { t } from './i18n.js';
import { metricName } from './metric-name.js';
import { wasOn } from './stays.js';
import { store } from './store.js';
import { Ruler } from './strip-ruler.js';
import { ownerOf, ownerText, scaleText } from './strip.js';
import * as layout from './strip-layout.js';
import {
  alertMark, beyondText, grid, pulse, stretch,
} from './strip-paint.js';
import { printStrip } from './strip-print.js';
import {
  Choices, isCalibratedScreen, paper, unscaled,
} from './strip-settings.js';

const AROUND_MS = 30_000;
const HEIGHT_MM = 40;

export class StripReview {
  constructor({ onFault }) {
    this.onFault = onFault;
    this.heading = h('h3');
    this.lead = h('select', { onchange: () => this.otherLead() });
    this.choices = new Choices(() => this.draw());
    this.print = h('button', { onclick: () => this.onPrint() });
    this.close = h('button', { onclick: () => this.hide() });
    this.ruler = new Ruler(() => this.draw());
    this.scaleText = h('strong', { class: 'strip-scale' });
    this.beyond = h('strong', { class: 'strip-beyond', role: 'status' });
    this.facts = h('span', { class: 'strip-facts' });
    this.note = h('p', { class: 'strip-note' });
    this.measured = h('p', { class: 'calipers', role: 'status' });
    this.canvas = h('canvas', {
      role: 'img',
      tabindex: '0',
      onpointerdown: (event) => this.caliper(event),
      onkeydown: (event) => this.key(event),
    });
    this.length = h('div', { class: 'review-length' }, this.canvas);
    this.scroller = h('div', {
      class: 'paper review-paper', tabindex: '0', onscroll: () => this.draw(),
    }, this.length);
    this.element = h('section', { class: 'strip strip-review', hidden: true },
      h('div', { class: 'part-head' }, this.heading, this.lead, this.choices.element,
        this.ruler.button, this.print, this.close),
      this.ruler.element, h('div', { class: 'strip-head' }, this.scaleText, this.beyond, this.facts),
      this.scroller, this.measured, this.note);
    this.hide();
  }

  /** Whether it was shown. */
  hide() {
    const was = !this.element.hidden;
    const hadFocus = was && this.element.contains(document.activeElement);
    set(this.element, 'hidden', true);
    if (hadFocus) this.opener.focus();
    this.blocks = [];
    /** The calipers, by moment and height of the trace: on other paper they stay on their wave. */
    this.points = [];
    this.asked = null;
    this.scale = null;
    return was;
  }

  /** What a live strip has just drawn. */
  showBlocks(device, metric, blocks, place) {
    if (!blocks.length) return;
    const [from, to] = [blocks[0].start, blocks[blocks.length - 1].end];
    this.begin({
      device, metric, leads: [metric], place, from, to, alert: null,
    });
    this.take(blocks);
    this.scroller.scrollLeft = this.scroller.scrollWidth;
  }

  /**
   * Half a minute before and after an alert, of the lead that is on screen. `leads`: where none is
   * yet, those that it may be; the first with a trace is shown.
   */
  showAlert(device, leads, alert, place) {
    const at = Date.parse(alert.started_at);
    this.begin({
      device, metric: leads[0], leads, place, from: at - AROUND_MS, to: at + AROUND_MS, alert,
    });
    this.fetch();
  }

  begin(asked) {
    this.asked = { ...asked, others: [], owner: ownerOf(asked.alert || asked.device) };
    this.blocks = [];
    this.points = [];
    this.scale = null;
    this.lack = 'review.reading';
    this.blocked = false;
    set(this.element, 'hidden', null);
    this.draw();
    this.element.scrollIntoView({ block: 'nearest' });
    // Keys measure at once, and go on where they were when it is shut.
    if (!this.element.contains(document.activeElement)) this.opener = document.activeElement;
    this.canvas.focus({ preventScroll: true });
  }

  otherLead() {
    this.asked = {
      ...this.asked, metric: this.lead.value, leads: [this.lead.value], others: [],
    };
    this.blocks = [];
    this.points = [];
    this.lack = 'review.reading';
    this.draw();
    this.fetch();
  }

  async fetch() {
    const { asked } = this;
    const { device, leads } = asked;
    try {
      const [found, { bindings }] = await Promise.all([
        Promise.all(leads.map((metric) => blocksOf(metric, asked))), api.bindingsOf(device),
      ]);
      if (this.asked !== asked) return;
      const blocks = found.find((some) => some.length) ?? [];
      asked.metric = leads[Math.max(0, found.indexOf(blocks))];
      const ready = blocks.filter((block) => block.samples.length).map(layout.prepared)
        .filter((block) => block.end > asked.from);
      // A monitor that went to somebody else within the minute: the other's beats are left out.
      const isOwn = (atMs) => wasOn(bindings, asked.owner.key, atMs);
      const own = ready.filter((block) => isOwn(block.start) && isOwn(block.end - 1));
      asked.others = ready.filter((block) => !own.includes(block))
        .map(({ start, end }) => ({ start, end, flags: ['others'] }));
      this.take(own);
      this.scrollTo((asked.to - asked.from) / 2000);
    } catch (failure) {
      if (this.asked !== asked) return;
      this.lack = 'review.failed';
      this.draw();
      if (failure.status === undefined) this.onFault(failure);
    }
  }

  take(blocks) {
    // What is said while there is no block.
    this.lack = 'strip.none';
    this.blocks = [...blocks].sort((a, b) => a.start - b.start);
    this.range = this.blocks.reduce((range, block) => (block.flags.includes('lead_off') ? range
      : layout.grownRange(range, block.samples)), null);
    this.draw();
  }

  isScaled() {
    return layout.isCalibrated(this.blocks);
  }

  paper() {
    return this.isScaled() ? paper() : unscaled();
  }

  draw() {
    if (!this.asked) return;
    this.describe();
    const now = this.paper();
    const margin = this.isScaled() ? now.pulsePx : 0;
    const heightPx = HEIGHT_MM * now.pxPerMm;
    const whole = ((this.asked.to - this.asked.from) / 1000) * now.pxPerSecond + margin;
    const middle = this.middle();
    this.length.style.width = `${Math.ceil(whole)}px`;
    const isOther = this.scale && this.scale.pxPerSecond !== now.pxPerSecond;
    /** How long a second was and where the trace began when it was drawn last. */
    this.scale = { pxPerSecond: now.pxPerSecond, margin };
    if (isOther) this.scrollTo(middle);
    const width = Math.min(Math.ceil(whole), Math.max(300, this.scroller.clientWidth));
    const context = sized(this.canvas, width, heightPx);
    const style = getComputedStyle(this.scroller);
    const colour = (name) => style.getPropertyValue(name).trim();
    const left = Math.round(this.scroller.scrollLeft);
    // The boxes scroll with the trace.
    context.save();
    context.translate(-(left % now.bigBoxPx), 0);
    grid(context, width + now.bigBoxPx, heightPx, colour, now);
    context.restore();
    context.save();
    context.translate(margin - left, 0);
    stretch(context, {
      ...this.asked, blocks: this.blocks, heightPx, colour, paper: now,
      range: this.isScaled() ? null : this.range,
    });
    this.drawAlert(context, now, heightPx, colour);
    this.drawCalipers(context, now, heightPx, colour);
    context.restore();
    if (margin) {
      context.save();
      context.translate(-left, 0);
      context.strokeStyle = colour('--trace');
      context.lineWidth = 1.5;
      pulse(context, heightPx, now);
      context.restore();
    }
  }

  /** Seconds from the begin that are in the middle of what is seen; on other paper they stay there. */
  middle() {
    if (!this.scale) return 0;
    const { pxPerSecond, margin } = this.scale;
    return (this.scroller.scrollLeft + this.scroller.clientWidth / 2 - margin) / pxPerSecond;
  }

  scrollTo(seconds) {
    const { pxPerSecond, margin } = this.scale;
    this.scroller.scrollLeft = Math.max(0, margin + seconds * pxPerSecond - this.scroller.clientWidth / 2);
  }

  drawAlert(context, now, heightPx, colour) {
    const { alert, from } = this.asked;
    if (!alert) return;
    const x = ((Date.parse(alert.started_at) - from) / 1000) * now.pxPerSecond;
    alertMark(context, x, heightPx, colour, now);
  }

  drawCalipers(context, now, heightPx, colour) {
    context.fillStyle = colour('--rail');
    for (const point of this.points) {
      const { x, y } = layout.placeOf(point, heightPx, now);
      context.fillRect(x - 0.5, 0, 1, heightPx);
      context.fillRect(x - 12, y - 0.5, 24, 1);
    }
  }

  describe() {
    const { device, metric, alert } = this.asked;
    put(this.heading, this.headingText());
    const leads = [...store.catalogue.values()].filter((one) => one.class === 'ecg_wave');
    arrange(this.lead, leads.map((one, index) => {
      const option = this.lead.children[index] || h('option');
      set(option, 'value', one.metric);
      put(option, metricName(one.metric));
      return option;
    }));
    if (this.lead.value !== metric) this.lead.value = metric;
    set(this.lead, 'hidden', !alert);
    set(this.lead, 'aria-label', t('strip.lead'));
    this.choices.draw(this.isScaled());
    this.ruler.draw();
    put(this.print, t('review.print'));
    put(this.close, t('review.close'));
    set(this.element, 'data-device', device.device);
    set(this.element, 'data-metric', metric);
    const scaled = this.isScaled();
    put(this.scaleText, this.blocks.length ? scaleText(this.paper()) : '');
    set(this.scaleText, 'data-calibrated', this.blocks.length ? String(scaled) : null);
    put(this.beyond, scaled ? beyondText(this.blocks, HEIGHT_MM, this.paper()) : '');
    put(this.facts, this.factsText());
    set(this.canvas, 'aria-label', [this.scaleText, this.beyond, this.facts]
      .map(({ textContent }) => textContent).filter(Boolean).join(' '));
    put(this.note, [
      ...(this.blocks.length ? [t('review.calipers'), isCalibratedScreen() ? '' : t('strip.screen')]
        : [t(this.lack)]),
      this.othersText(), this.blocked ? t('print.blocked') : '',
    ].filter(Boolean).join(' · '));
    set(this.print, 'disabled', !this.blocks.length);
    set(this.print, 'title', this.blocks.length ? null : t('review.no_print', { why: t(this.lack) }));
    put(this.measured, this.measure());
  }

  othersText() {
    return this.asked.others.length ? t('review.others') : '';
  }

  headingText() {
    return t(this.asked.alert ? 'review.heading_alert' : 'review.heading');
  }

  factsText() {
    const { device, metric, from, owner } = this.asked;
    const [block] = this.blocks;
    const rate = block ? Math.round(1000 / block.periodMs) : 0;
    return [
      ownerText(owner), device.device, metricName(metric),
      t('strip.edge', { at: dateTimeSeconds(from) }), t('review.archive'),
      t('strip.filter'),
      ...(rate ? [`${rate} Hz`] : []),
      ...(rate && rate < layout.DIAGNOSTIC_HZ ? [t('strip.rhythm_only')] : []),
    ].join(' · ');
  }

  /** A click sets one of two calipers, the one that was set first is taken away. */
  caliper(event) {
    const box = this.canvas.getBoundingClientRect();
    const now = this.paper();
    const margin = this.isScaled() ? now.pulsePx : 0;
    const x = event.clientX - box.left + Math.round(this.scroller.scrollLeft) - margin;
    const point = layout.pointOf({ x, y: event.clientY - box.top }, HEIGHT_MM * now.pxPerMm, now);
    this.points = [...this.points, point].slice(-2);
    this.draw();
  }

  /**
   * By keys: `Enter` sets a caliper, the first in the middle of what is in sight and the next on the
   * one before; arrows move the one that was set last.
   */
  key(event) {
    const moves = {
      Enter: [0, 0], ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const step = event.shiftKey ? 10 : 1;
    const now = this.paper();
    const heightPx = HEIGHT_MM * now.pxPerMm;
    const last = this.points[this.points.length - 1];
    const from = last ? layout.placeOf(last, heightPx, now)
      : { x: this.inSight().middle, y: heightPx / 2 };
    const [dx, dy] = last ? move : [0, 0];
    const point = layout.pointOf({ x: from.x + dx * step, y: from.y + dy * step }, heightPx, now);
    const kept = event.key === 'Enter' ? this.points : this.points.slice(0, -1);
    this.points = [...kept, point].slice(-2);
    this.keepInSight(layout.placeOf(point, heightPx, now).x);
    this.draw();
  }

  /** What of the trace is in sight, in pixels from its begin. */
  inSight() {
    const margin = this.isScaled() ? this.paper().pulsePx : 0;
    const left = Math.round(this.scroller.scrollLeft) - margin;
    const right = left + Math.min(this.scroller.clientWidth, this.length.clientWidth);
    return { left, right, middle: Math.round((Math.max(0, left) + right) / 2) };
  }

  keepInSight(x) {
    const { left, right } = this.inSight();
    this.scroller.scrollLeft += Math.min(0, x - left) + Math.max(0, x - right + 1);
  }

  measure() {
    if (this.points.length < 2) return '';
    const [a, b] = this.points;
    const { ms, bpm, mv } = layout.between(a, b, this.isScaled());
    return [
      `${ms} ms`, bpm === null ? '' : `${bpm} ${t('unit./min')}`, mv === null ? '' : `${mv} mV`,
    ].filter(Boolean).join(' · ');
  }

  onPrint() {
    const { alert } = this.asked;
    this.blocked = false;
    printStrip({
      ...this.asked,
      blocks: this.blocks,
      range: this.isScaled() ? null : this.range,
      isScaled: this.isScaled(),
      heading: this.headingText(),
      words: [alert ? alertText(alert) : '', scaleText(this.paper()), this.factsText(),
        this.othersText(), t('review.printed', {
          at: dateTimeSeconds(clock.serverNow()), by: store.user?.name || '',
        }), t('footer')],
    }, () => {
      this.blocked = true;
      this.draw();
    });
  }
}

/** The alert of whose moment a strip is: by its word, its priority and when. */
function alertText(alert) {
  return t('review.alert', {
    priority: t(`priority.${alert.priority}`),
    what: message(alert),
    at: dateTimeSeconds(Date.parse(alert.started_at)),
  });
}

/** What there is of a lead in that minute. */
async function blocksOf(metric, { device, from, to }) {
  const { blocks } = await api.waveforms({
    site: device.site,
    device: device.device,
    metric,
    // A block that begins before may reach into it.
    from: new Date(from - 10_000).toISOString(),
    to: new Date(to).toISOString(),
  });
  return blocks;
}

/** A canvas at the screen's resolution, empty. */
function sized(canvas, widthPx, heightPx) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(widthPx * ratio);
  canvas.height = Math.round(heightPx * ratio);
  canvas.style.width = `${widthPx}px`;
  canvas.style.height = `${heightPx}px`;
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
