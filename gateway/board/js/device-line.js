// A device in a tile: its values, or why there are none.

import {
  arrange, h, put, set,
} from './dom.js';
import { wordOf } from './format.js';
import { currentLanguage, t } from './i18n.js';
import { Cell, ageOfCells } from './cell.js';
import { cellsOf, isStation } from './order.js';
import { offText } from './service.js';
import { tileStaleness, untilLimitMs } from './stale.js';
import {
  boundTo, isOf, kindOf, ruledOf, store,
} from './store.js';
import { Strip } from './strip.js';

export class DeviceLine {
  /**
   * `onStrips()`: another lead is wanted; `hasStrip`: whether it shows one; `moverOf(find)`: what
   * moves a result, where one can.
   */
  constructor(device, onStrips, hasStrip, moverOf = null) {
    this.moverOf = moverOf;
    this.cells = new Map();
    this.onStrips = onStrips;
    const span = (name) => h('span', { class: name });
    [this.kind, this.id, this.off, this.slot, this.ruleless, this.state] = [
      'kind', 'device', 'off', 'slot', 'no-rule', 'device-state',
    ].map(span);
    this.why = h('p', { class: 'why' });
    this.grid = h('div', { class: 'cells' });
    /** Shows or hides the strip, where one may choose. */
    this.stripButton = h('button', { class: 'strip-wanted', hidden: true });
    this.head = h('div', { class: 'line-head' },
      this.kind, this.id, this.off, this.slot, this.ruleless, this.stripButton, this.state);
    this.element = h('div', { class: 'device-line' }, this.head, this.why, this.grid);
    this.strip = null;
    this.showStrip(hasStrip, device);
    this.staleness = { stale: 'fresh', hatched: false };
    this.isRuleless = false;
    /** In how long after it was drawn the first of its numbers becomes another. */
    this.untilMs = Infinity;
  }

  /** It is shown no more, nor is its strip. */
  leave() {
    if (!this.strip) return;
    this.strip.leave();
    this.strip.element.remove();
  }

  /** Shows a strip or takes it away; whether that changed something. */
  showStrip(wanted, device) {
    if (Boolean(this.strip) === wanted) return false;
    this.leave();
    this.strip = wanted ? new Strip(device, this.onStrips) : null;
    if (this.strip) this.element.append(this.strip.element);
    return true;
  }

  /** Whether a person may choose. */
  offerStrip(offers) {
    set(this.stripButton, 'hidden', !offers);
    set(this.stripButton, 'aria-expanded', String(Boolean(this.strip)));
    put(this.stripButton, t(this.strip ? 'strip.hide' : 'strip.show'));
    set(this.stripButton, 'aria-label', `${this.stripButton.textContent} ${this.id.textContent}`.trim());
  }

  draw(device, lost) {
    const removed = device.state === 'removed';
    const patient = boundTo(device);
    // How a meter's clock stands is no number of a patient.
    const all = removed ? []
      : [...device.series.values()].filter(({ metric }) => metric !== 'clock_offset');
    // Another's is not shown under this name, nor a patient's where no name is.
    const readings = all.filter((reading) => isOf(reading, patient));
    const drawn = cellsOf(readings, kindOf).map((cell) => this.cell(cell, device));
    arrange(this.grid, drawn.map((cell) => cell.element));
    const numbers = drawn.flatMap((cell) => cell.ages);
    this.staleness = tileStaleness(numbers, device.state);
    this.untilMs = Math.min(...numbers.map(untilLimitMs));
    const site = store.sites.get(device.site);
    const cut = Boolean(lost || !store.brokerUp || (site && !site.online));
    for (const [name, value] of Object.entries({
      'data-device': device.device, 'data-site': device.site, 'data-kind': device.kind,
      'data-device-state': device.state, 'data-cut': cut ? 'true' : null,
      'data-hatched': this.staleness.hatched ? 'true' : null,
    })) set(this.element, name, value);
    put(this.kind, wordOf('kind', device.kind, t));
    put(this.id, device.device);
    put(this.off, offText(device));
    const slot = readings.find((reading) => reading.context?.slot)?.context.slot;
    put(this.slot, slot ? t('context.slot', { value: slot }) : '');
    const counted = drawn.filter((cell) => cell.counts);
    this.isRuleless = Boolean(ruledOf(device)) && counted.length > 0
      && counted.every((cell) => !cell.isRuled);
    put(this.ruleless, this.isRuleless ? t('tiles.no_rule') : '');
    const state = wordOf('device_state', cut ? 'unknown' : device.state, t);
    put(this.state, [state, ageOfCells(drawn)].filter(Boolean).join(' · '));
    const station = !all.length && isStation(device, [...store.devices.values()]);
    set(this.element, 'data-station', station ? 'true' : null);
    if (this.strip) {
      set(this.strip.element, 'hidden', removed);
      this.strip.device = device;
      this.strip.describe(cut);
    }
    // Who sees its curve is not told that nothing came.
    const runs = this.strip?.element.dataset.live === 'live';
    put(this.why, why(device, readings, station, { hasOthers: all.length > 0, runs }));
  }

  /** It could not be drawn: no number stays. */
  blank() {
    this.grid.replaceChildren();
    this.cells.clear();
    put(this.state, '');
    put(this.why, t('tiles.why.fault'));
    this.staleness = { stale: 'stale', hatched: true };
    this.untilMs = Infinity;
    set(this.element, 'data-hatched', 'true');
  }

  cell(cell, device) {
    let drawn = this.cells.get(cell.key);
    if (!drawn) {
      drawn = new Cell(this.moverOf);
      this.cells.set(cell.key, drawn);
    }
    drawn.draw(cell, device);
    return drawn;
  }
}

/** Why there is nothing to see, where there is nothing. */
function why(device, readings, station, { hasOthers, runs }) {
  const site = store.sites.get(device.site);
  const words = [];
  if (site && !site.online) words.push(t('tiles.site_offline'));
  if (device.state !== 'online') {
    // The agent's own sentence is English: in Chinese there is what a nurse can do.
    const own = currentLanguage() === 'en' ? device.state_reason : '';
    const [reason, advice] = ['why', 'do'].map((part) => `tiles.${part}.${device.state}`)
      .map((key) => (t.has(key) ? t(key) : ''));
    words.push(reason, own || advice);
  } else if (station) words.push(t(device.kind === 'pump' ? 'tiles.why.station' : 'tiles.why.cable'));
  else if (!readings.length && (hasOthers || !runs)) words.push(t(`tiles.why.${hasOthers ? 'others' : 'nothing_yet'}`));
  return words.filter(Boolean).join(' · ');
}
