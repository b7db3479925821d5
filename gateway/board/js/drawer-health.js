// How the devices of a place are: state, last seen, battery, edge box, what was done to them.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import {
  actionText, ageText, heldText, shortTime, shownValue, unitText, wordOf,
} from './format.js';
import { t } from './i18n.js';
import { metricName } from './metric-name.js';
import { between, numberOf, putLine } from './number.js';
import { PutBack, offText } from './service.js';
import { deviceKey, store } from './store.js';

const POWER = ['batt_pct', 'batt_min', 'batt_state', 'power'];

/** What a device runs on and for how long, of its newest readings. */
export function powerPieces(readings) {
  return between(POWER.map((metric) => {
    const reading = readings.find((one) => one.metric === metric);
    const { text, unit } = shownValue(reading || {});
    if (!text) return [];
    const number = { ...numberOf(reading), text: wordOf(`value.${metric}`, text, t) };
    return between([[metricName(metric)], [number], [unitText(unit, t)]], ' ');
  }), ' · ');
}

export class Health {
  /** `isLost()`: the link is; `onChange(change)` runs a change and shows what it made of things. */
  constructor({ isLost, onChange }) {
    Object.assign(this, { isLost, onChange });
    this.lines = new Map();
    this.heading = h('h3');
    this.list = h('ul', { class: 'health' });
    this.element = h('section', {}, this.heading, this.list);
  }

  clear() {
    this.lines.clear();
    this.list.replaceChildren();
  }

  draw(place) {
    put(this.heading, t('health.heading'));
    set(this.element, 'hidden', !place.devices.length);
    arrange(this.list, place.devices.map((of) => {
      const device = store.devices.get(deviceKey(of)) || of;
      const { element, text, back } = this.line(deviceKey(of));
      set(element, 'data-device', device.device);
      putLine(text, between(words(device, this.isLost() || !store.brokerUp), ' · '));
      back.draw(device, this.isLost());
      return element;
    }));
  }

  line(key) {
    if (!this.lines.has(key)) {
      const text = h('span');
      const back = new PutBack({ run: this.onChange });
      const element = h('li', {}, text, back.button, back.form);
      this.lines.set(key, { element, text, back });
    }
    return this.lines.get(key);
  }
}

function siteText({ online }, cut) {
  if (cut) return t('site.unknown');
  return t(online ? 'site.online' : 'tiles.site_offline');
}

/** `cut`: nobody hears the boxes. */
function words(device, cut) {
  const nowMs = clock.serverNow();
  const heard = [...device.series.values()].map((one) => Date.parse(one.placed_time));
  const last = heard.length ? Math.max(...heard) : Date.parse(device.last_observed);
  const site = store.sites.get(device.site);
  const about = Object.entries(device.about || {})
    .map(([name, value]) => `${wordOf('about', name, t)} ${value}`).join(' · ');
  const action = device.actions?.[0];
  return [
    [`${wordOf('kind', device.kind, t)} ${device.device}`],
    [offText(device)],
    // Nobody hears a device whose box is silent.
    [wordOf('device_state', site && site.online && !cut ? device.state : 'unknown', t)],
    [Number.isFinite(last) ? t('health.seen', {
      at: shortTime(last, nowMs), age: ageText(nowMs - last, t, true),
    }) : t('health.never')],
    powerPieces([...device.series.values()]),
    [site ? siteText(site, cut) : ''],
    [site && site.holds_s > 0 ? t('health.holds', { age: heldText(site.holds_s, t) }) : ''],
    [about],
    [action ? `${shortTime(Date.parse(action.at), nowMs)} ${actionText(action, t)}` : ''],
  ];
}
