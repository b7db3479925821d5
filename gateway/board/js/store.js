// What the page knows: sites, devices, the newest reading of each series, open alerts.
//
// Holds one entry per site, device, series and open alert, and so does not grow with time.

import { isNewer } from './order.js';

export const store = {
  user: null,
  catalogue: new Map(),
  sites: new Map(),
  devices: new Map(),
  alerts: new Map(),
};

/** The key of a device across sites. */
export function deviceKey(of) {
  return `${of.site}:${of.device}`;
}

export function setCatalogue(metrics) {
  store.catalogue = new Map(metrics.map((metric) => [metric.metric, metric]));
}

/** The catalogue's kind of a metric. */
export function kindOf(metric) {
  return store.catalogue.get(metric)?.kind || 'stream';
}

/** Everything anew, keeping a reading that is newer than the answer's. */
export function replaceAll({ sites, devices, alerts }) {
  store.sites = new Map(sites.map((site) => [site.site, site]));
  const before = store.devices;
  store.devices = new Map();
  for (const device of devices) {
    const { latest, ...facts } = device;
    const series = before.get(deviceKey(device))?.series || new Map();
    store.devices.set(deviceKey(device), { ...facts, series });
    for (const reading of latest || []) putReading(reading);
  }
  store.alerts = new Map();
  alerts.forEach(putAlert);
}

/** Takes a reading; `false` if its device is not known. */
export function putReading(reading) {
  const device = store.devices.get(deviceKey(reading));
  if (!device) return false;
  const key = `${reading.metric}|${reading.channel || ''}`;
  if (isNewer(reading, device.series.get(key))) device.series.set(key, reading);
  return true;
}

export function putDevice(facts) {
  const key = deviceKey(facts);
  const known = store.devices.get(key);
  store.devices.set(key, { ...facts, series: known?.series || new Map() });
}

export function putSite(site) {
  store.sites.set(site.site, { ...store.sites.get(site.site), ...site });
}

/** Takes an alert; one that is closed leaves. */
export function putAlert(alert) {
  if (alert.state === 'closed' || alert.state === 'normal') store.alerts.delete(alert.id);
  else store.alerts.set(alert.id, alert);
}

export function forgetAll() {
  store.user = null;
  store.sites = new Map();
  store.devices = new Map();
  store.alerts = new Map();
}
