// A live ECG strip: paper, pen and eraser on a canvas, with the words above it.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { dateTimeSeconds } from './format.js';
import { t } from './i18n.js';
import { metricName } from './metric-name.js';
import {
  bedOf, bindingOf, boundTo, patientOf, store,
} from './store.js';
import * as layout from './strip-layout.js';
import {
  beyondText, edgeMark, edgeMarks, gapWords, grid, pulse,
} from './strip-paint.js';
import { Choices, isCalibratedScreen, paper, unscaled } from './strip-settings.js';

const HEIGHT_MM = 30;
/** Five seconds: on a phone the strip scrolls in its own box. */
const LEAST_PX = 500;
/** Drawn no more often, whoever asks: less than the sweep, whose frames do not come to the ms. */
const FRAME_MS = 30;
const LAGS_MAX = 10;
const LEAD_FIRST = 'ecg_wave_ii';
/** A strap has one lead: without a name, but where its driver knows which it is. */
const STRAP_LEADS = ['ecg_wave', 'ecg_wave_i', LEAD_FIRST];

/** The leads that a strip of a device waits for; what comes first is shown. */
export function leadsOf({ kind }) {
  return kind === 'ecg_strap' ? STRAP_LEADS : [LEAD_FIRST];
}

/** A strip for one monitor; `onLead` is called when another lead is wanted. */
export class Strip {
  constructor(device, onLead) {
    this.device = device;
    this.leads = leadsOf(device);
    [this.metric] = this.leads;
    this.onLead = onLead;
    this.seen = false;
    this.drawn = 0;
    this.paperNow = paper();
    this.clear();
    this.build();
  }

  clear() {
    /** On whom the device was while the blocks were measured, and since when. */
    this.stay = null;
    this.blocks = [];
    this.lags = [];
    this.range = null;
    this.notLiveMs = null;
  }

  build() {
    this.lead = h('select', {
      onchange: () => {
        this.use(this.lead.value);
        this.clear();
        this.onLead();
      },
    });
    this.facts = h('span', { class: 'strip-facts' });
    this.scaleText = h('strong', { class: 'strip-scale' });
    this.beyond = h('strong', { class: 'strip-beyond', role: 'status' });
    this.note = h('span', { class: 'strip-note' });
    this.choices = new Choices();
    this.freeze = h('button', { class: 'freeze', hidden: true });
    this.canvas = h('canvas', { role: 'img' });
    this.paper = h('div', { class: 'paper', tabindex: '0' }, this.canvas);
    this.element = h('section', { class: 'strip' },
      h('div', { class: 'strip-head' }, this.lead, this.choices.element, this.freeze,
        this.scaleText, this.beyond, this.facts, this.note),
      this.paper);
    this.observer = new IntersectionObserver((entries) => {
      this.seen = entries[entries.length - 1].isIntersecting;
    });
    this.observer.observe(this.element);
  }

  /** It is shown no more. */
  leave() {
    this.observer.disconnect();
  }

  /** Whoever shows it can stop it: `run(strip)`. */
  canFreeze(run) {
    this.freeze.addEventListener('click', () => run(this));
    set(this.freeze, 'hidden', null);
  }

  /** This lead from now on. */
  use(metric) {
    this.metric = metric;
    this.leads = [metric];
  }

  /** Goes on with what another strip of the same device has. */
  takeOver(other) {
    if (!this.leads.includes(other.metric)) return;
    if (other.leads.length === 1) this.use(other.metric);
    const { stay, blocks, lags, range } = other;
    Object.assign(this, {
      stay, blocks, lags, range,
    });
  }

  /** The device went from one to another: no beat of the one stands under the other's name. */
  follow() {
    const binding = bindingOf(this.device);
    const key = binding ? `${binding.id}/${binding.patient}` : '';
    if (this.stay?.key === key) return;
    this.clear();
    // Where it is on nobody only what is measured from now on is surely nobody's.
    this.stay = { key, since: binding ? Date.parse(binding.from) : clock.serverNow() };
  }

  /** What the events are asked for. */
  wanted() {
    return this.leads.map((lead) => `${this.device.site}:${this.device.device}:${lead}`);
  }

  /** `heardMs`: when it came, where it had to wait until it was known whose it is. */
  take(block, heardMs = clock.serverNow()) {
    if (!this.leads.includes(block.metric) || !block.samples.length) return;
    if (this.leads.length > 1) this.use(block.metric);
    this.follow();
    const ready = layout.prepared(block);
    if (ready.start < this.stay.since) return;
    const lag = heardMs - ready.end;
    if (!layout.isLive(lag)) {
      this.notLiveMs = lag;
      return;
    }
    this.notLiveMs = null;
    this.lags = [...this.lags, lag].slice(-LAGS_MAX);
    this.blocks = layout.withBlock(this.blocks, ready, heardMs);
    if (!ready.flags.includes('lead_off')) {
      this.range = layout.grownRange(this.range, ready.samples);
    }
  }

  /** The words above the paper; once a second. `cut`: nobody knows how the device is. */
  describe(cut) {
    this.follow();
    const leads = [...store.catalogue.values()].filter((metric) => metric.class === 'ecg_wave');
    if (this.lead.options.length !== leads.length) {
      arrange(this.lead, leads.map((lead) => h('option', { value: lead.metric })));
    }
    for (const option of this.lead.options) {
      put(option, metricName(option.value));
    }
    if (this.lead.value !== this.metric) this.lead.value = this.metric;
    set(this.lead, 'aria-label', t('strip.lead'));
    set(this.element, 'data-device', this.device.device);
    set(this.element, 'data-metric', this.metric);
    const last = this.blocks[this.blocks.length - 1];
    const width = this.width || LEAST_PX;
    const live = Boolean(last) && last.end > this.penMs() - layout.windowMs(width, this.paperNow);
    put(this.freeze, t('strip.freeze'));
    set(this.freeze, 'disabled', !live);
    set(this.element, 'data-live', live ? 'live' : 'none');
    if (!live) {
      put(this.scaleText, '');
      put(this.beyond, '');
      put(this.facts, '');
      const late = this.notLiveMs !== null;
      const seconds = Math.round((this.notLiveMs || 0) / 1000);
      const words = late ? t('strip.not_live', { s: seconds }) : t('strip.none');
      put(this.note, cut ? t('strip.cut') : words);
      set(this.canvas, 'aria-label', this.note.textContent);
      this.choices.draw(false);
      return;
    }
    const calibrated = layout.isCalibrated(this.blocks);
    this.choices.draw(calibrated);
    put(this.scaleText, scaleText(calibrated ? paper() : unscaled()));
    set(this.scaleText, 'data-calibrated', String(calibrated));
    const shown = layout.visible(this.penMs(), width, this.paperNow);
    const seen = this.blocks.filter(({ start, end }) => end > shown.from && start < shown.to);
    put(this.beyond, calibrated ? beyondText(seen, HEIGHT_MM, paper()) : '');
    const rate = Math.round(1000 / last.periodMs);
    const edge = layout.leftEdgeMs(this.penMs(), width, this.paperNow);
    put(this.facts, [
      ownerText(ownerOf(this.device)),
      t('strip.live', { s: this.delayMs() / 1000 }),
      t('strip.edge', { at: dateTimeSeconds(edge) }),
      `${rate} Hz`, t('strip.filter'),
      ...(rate < layout.DIAGNOSTIC_HZ ? [t('strip.rhythm_only')] : []),
    ].filter(Boolean).join(' · '));
    put(this.note, isCalibratedScreen() ? '' : t('strip.screen'));
    set(this.canvas, 'aria-label', [this.scaleText, this.beyond, this.facts]
      .map(({ textContent }) => textContent).filter(Boolean).join(' '));
  }

  delayMs() {
    return layout.delayFor(this.lags);
  }

  penMs() {
    return clock.serverNow() - this.delayMs();
  }

  draw() {
    const nowMs = clock.now();
    if (!this.seen || !this.element.isConnected || Math.abs(nowMs - this.drawn) < FRAME_MS) return;
    this.drawn = nowMs;
    this.follow();
    const calibrated = layout.isCalibrated(this.blocks);
    this.paperNow = calibrated ? paper() : unscaled();
    this.height = HEIGHT_MM * this.paperNow.pxPerMm;
    const margin = calibrated ? this.paperNow.pulsePx : 0;
    this.width = layout.sweepWidth(this.paper.clientWidth - margin, LEAST_PX, this.paperNow);
    const context = this.sized(margin + this.width);
    const style = getComputedStyle(this.paper);
    const colour = (name) => style.getPropertyValue(name).trim();
    grid(context, margin + this.width, this.height, colour, this.paperNow);
    context.strokeStyle = colour('--trace');
    context.lineWidth = 1.5;
    if (calibrated) pulse(context, this.height, this.paperNow);
    context.save();
    context.translate(margin, 0);
    const pen = this.penMs();
    const gaps = layout.gaps(this.blocks, pen);
    this.drawGaps(context, pen, gaps, colour);
    this.drawTrace(context, pen, gaps, calibrated ? null : this.range, colour);
    context.restore();
  }

  /** The canvas at the screen's resolution, empty. */
  sized(widthPx) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(widthPx * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.canvas.style.width = `${widthPx}px`;
      this.canvas.style.height = `${this.height}px`;
    }
    const context = this.canvas.getContext('2d');
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, widthPx, this.height);
    return context;
  }

  drawGaps(context, pen, gaps, colour) {
    for (const gap of gaps) {
      const parts = layout.spans(gap.from, gap.to, pen, this.width, this.paperNow);
      if (!parts.length) continue;
      context.fillStyle = colour('--gap');
      for (const { left, width } of parts) context.fillRect(left, 0, width, this.height);
      const widest = parts.reduce((a, b) => (b.width > a.width ? b : a));
      gapWords(context, gap, widest, colour, this.paperNow);
    }
  }

  drawTrace(context, pen, gaps, range, colour) {
    const shown = layout.visible(pen, this.width, this.paperNow);
    const railed = [];
    const beyond = [];
    context.save();
    context.beginPath();
    context.rect(0, 0, this.width, this.height);
    context.clip();
    context.beginPath();
    let before = null;
    let lastX = Infinity;
    for (const block of this.blocks) {
      const leadOff = block.flags.includes('lead_off');
      if (leadOff || block.end < shown.from || block.start > shown.to) {
        before = null;
        continue;
      }
      if (!before || !layout.touches(before, block)) lastX = Infinity;
      if (block.flags.includes('saturation')) railed.push(block);
      const isDrawn = layout.drawnOf(block, gaps);
      block.samples.forEach((sample, index) => {
        const at = block.start + index * block.periodMs;
        if (at < shown.from || at > shown.to) return;
        if (!isDrawn(at)) {
          lastX = Infinity;
          return;
        }
        const x = layout.xOf(at, this.width, this.paperNow);
        const y = layout.yOf(sample, block, range, this.height, this.paperNow);
        if (x < lastX) context.moveTo(x, y);
        else context.lineTo(x, y);
        if (layout.edgeOf(y, this.height)) beyond.push({ x, y });
        lastX = x;
      });
      before = block;
    }
    context.stroke();
    context.restore();
    context.fillStyle = colour('--rail');
    edgeMarks(context, beyond, this.height, this.paperNow);
    for (const { start, end } of railed) {
      for (const span of layout.spans(start, end, pen, this.width, this.paperNow)) {
        for (const edge of [-1, 1]) edgeMark(context, span, edge, this.height, this.paperNow);
      }
    }
    const x = layout.xOf(pen, this.width, this.paperNow);
    context.fillStyle = colour('--pen');
    context.fillRect(x, 0, 2, this.height);
  }
}

/** The setting as it is printed; of a device whose counts nobody calibrated there is no gain. */
export function scaleText({ speed, gain }) {
  return `${speed} mm/s ${gain === null ? t('strip.uncalibrated') : `${gain} mm/mV`}`;
}

/** Of whom a device or alert is: it stays so, whoever is on the device later. */
export function ownerOf(of) {
  const key = of.patient === undefined ? boundTo(of) : of.patient;
  return { key: key ?? null, bed: bedOf(of), patient: patientOf(of) };
}

/** Bed and masked name. */
export function ownerText({ key, bed, patient }) {
  const nobody = t(key === null ? 'patient.none' : 'patient.unknown');
  return [
    bed ? t('tiles.bed', { bed }) : '', patient ? patient.name || '' : nobody,
  ].filter(Boolean).join(' ');
}
