// What the page knows: sites, devices, patients and what is on them, the newest reading of each
// series, open alerts.
//
// Holds one entry per site, device, patient, series and open alert, a bounded number of alerts that
// are over, and so does not grow with time.

import * as clock from './clock.js';
import { isNewer, stationOf } from './order.js';
import { ruleOf } from './stale.js';

/** Alerts that are over and remembered, so that an older word does not bring them back. */
export const CLOSED_MAX = 500;
/** So many envelopes are under way at a box that is in time. */
const UNDER_WAY_MAX = 20;

const empty = () => ({
  user: null,
  sites: new Map(),
  devices: new Map(),
  patients: new Map(),
  alerts: new Map(),
  closed: new Map(),
  brokerUp: true,
  /** It is another county, restored from a backup, whose alerts are not known yet. */
  restored: false,
  disk: { state: 'good' },
  sinks: new Map(),
  bindings: new Map(),
  beds: [],
  ruledWithoutPatient: null,
  /** Series → when that number was measured which is outside a limit and no alert yet. */
  pending: new Map(),
  /** Devices and patients of whom something changed since the tiles were drawn. */
  changed: new Set(),
});

export const store = { ...empty(), catalogue: new Map() };

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

/** Everything anew, keeping a reading or alert that is newer than the answer's. */
export function replaceAll({
  sites, devices, alerts, truncated, broker, disk, sinks, ...people
}) {
  store.brokerUp = broker?.up !== false;
  putDisk(disk);
  store.sinks = new Map((sinks || []).map((sink) => [sink.sink, sink]));
  store.sites = new Map(sites.map((site) => [site.site, site]));
  putPatients(people);
  const before = store.devices;
  store.devices = new Map();
  for (const device of devices) {
    const { latest, ...facts } = device;
    const series = before.get(deviceKey(device))?.series || new Map();
    store.devices.set(deviceKey(device), { ...facts, series });
    putReadings(latest || []);
  }
  for (const key of store.pending.keys()) {
    if (!store.devices.has(key.split('|', 1)[0])) store.pending.delete(key);
  }
  store.truncated = Boolean(truncated);
  // Until its answer is there what sounded goes on sounding; whatever is newer here is of before.
  if (store.restored) store.closed = new Map();
  const known = store.restored ? new Map() : store.alerts;
  store.restored = false;
  store.alerts = new Map();
  for (const alert of alerts) putAlert(newerAlert(alert, known.get(alert.id)));
}

/** Reading → the moment in which the page first heard it. */
const heardAt = new WeakMap();

/** For how long the page has known a reading. */
export function knownMs(reading) {
  return heardAt.has(reading) ? clock.sinceMs(heardAt.get(reading)) : 0;
}

/** Whether it is that reading once more, as everything is fetched anew. */
function isSame(reading, shown) {
  return Boolean(shown) && ['outbox', 'lane', 'seq', 'index', 'measured_time', 'value']
    .every((name) => reading[name] === shown[name]);
}

/** Takes readings; returns those whose device is not known. */
export function putReadings(readings) {
  return readings.filter((reading) => !putReading(reading));
}

function putReading(reading) {
  const device = store.devices.get(deviceKey(reading));
  if (!device) return false;
  const key = `${reading.metric}|${reading.channel || ''}`;
  const once = ruleOf(kindOf(reading.metric), device.kind) === 'spot';
  const shown = device.series.get(key);
  if (isNewer(reading, shown, once)) {
    device.series.set(key, reading);
    heardAt.set(reading, isSame(reading, shown) ? heardAt.get(shown) : clock.moment());
    store.changed.add(deviceKey(reading));
  }
  return true;
}

/** Numbers outside a limit that are no alert yet; good for the reading that was measured then. */
export function putPending(numbers) {
  for (const number of numbers) {
    if (!store.devices.has(deviceKey(number))) continue;
    store.pending.set(seriesKey(number), number.measured_time);
    store.changed.add(deviceKey(number));
  }
}

/** Whether a reading is outside a limit and no alert yet. */
export function isPending(reading) {
  return store.pending.get(seriesKey(reading)) === reading.measured_time;
}

function seriesKey(of) {
  return `${deviceKey(of)}|${of.metric}|${of.channel || ''}`;
}

/** Patients with their rules and beds, and which device is on whom. */
export function putPatients({
  patients = [], bindings = [], beds = [], ruled_without_patient: ruled = null,
}) {
  store.patients = new Map(patients.map((patient) => [patient.patient, patient]));
  store.bindings = new Map(bindings.map((binding) => [deviceKey(binding), binding]));
  store.beds = beds;
  store.ruledWithoutPatient = ruled;
}

/** The patient on whom a device is, or of an alert; `null` where it is nobody's. */
export function patientOf(of) {
  const key = of.patient === undefined ? store.bindings.get(deviceKey(of))?.patient : of.patient;
  return store.patients.get(key) || null;
}

/** The key of the patient on whom a device is now; `null` where it is on nobody. */
export function boundTo(of) {
  return bindingOf(of)?.patient ?? null;
}

/** On whom or where a device is now; `null` where nobody put it anywhere. */
export function bindingOf(of) {
  return store.bindings.get(deviceKey(of)) ?? null;
}

/** Whether a reading or alert is of this patient; `null` is nobody. */
export function isOf(one, patient) {
  return (one.patient ?? null) === (patient ?? null);
}

/**
 * Whether an alert is not of the patient on whom its device is. What nothing measured raised, and
 * nobody's, is of the device.
 */
export function isOfOther(alert, patient) {
  return !isOf(alert, patient) && Boolean(alert.patient || alert.metric);
}

/** The bed of a device or alert; empty where nobody said. */
export function bedOf(of) {
  const binding = store.bindings.get(deviceKey(of));
  const own = of.patient === undefined || !isOfOther(of, binding?.patient);
  return patientOf(of)?.bed || (own && binding?.bed) || '';
}

/** The station on which a pump is; null for what is on none. */
export function stationAt(of) {
  const device = store.devices.get(deviceKey(of));
  return (device && stationOf(device, [...store.devices.values()])) || null;
}

/** The patient on whom the station of a pump is. That the pump is theirs too nobody has said. */
export function stationPatient(of) {
  const station = stationAt(of);
  return station ? patientOf(station) : null;
}

/**
 * How many envelopes wait at a box; none where it is only what is always under way, so that a
 * healthy link does not look like a slow one.
 */
export function waitingAt({ backlog }) {
  const sum = Object.values(backlog || {}).reduce((all, count) => all + Number(count), 0);
  return sum > UNDER_WAY_MAX ? sum : 0;
}

/** Which rules look at what a device says. */
export function ruledOf(of) {
  const patient = patientOf(of);
  return patient ? patient.ruled : store.ruledWithoutPatient;
}

/** Whether the person may do that. */
export function may(action) {
  return Boolean(store.user?.may?.includes(action));
}

export function putDevice(facts) {
  const key = deviceKey(facts);
  const known = store.devices.get(key);
  store.devices.set(key, { ...facts, series: known?.series || new Map() });
}

export function putSite(site) {
  store.sites.set(site.site, { ...store.sites.get(site.site), ...site });
}

/** Takes an alert, unless a newer word about it is known; one that is closed leaves. */
export function putAlert(alert) {
  const known = store.alerts.get(alert.id) || store.closed.get(alert.id);
  if (newerAlert(alert, known) !== alert) return;
  for (const one of [known, alert]) {
    if (one) store.changed.add(deviceKey(one)).add(one.patient);
  }
  store.closed.delete(alert.id);
  store.alerts.delete(alert.id);
  if (alert.state !== 'closed') {
    store.alerts.set(alert.id, alert);
    return;
  }
  // An older word may still be under way.
  store.closed.set(alert.id, alert);
  if (store.closed.size > CLOSED_MAX) store.closed.delete(store.closed.keys().next().value);
}

/** The one with the higher revision; the first where they are equal or have none. */
function newerAlert(alert, known) {
  return known && known.revision > alert.revision ? known : alert;
}

export function putBroker({ up }) {
  store.brokerUp = up !== false;
}

/** How the county's disk is: good, low, full, failing. */
export function putDisk(disk) {
  store.disk = disk || { state: 'good' };
}

/** How a notification sink is doing: good, failing. */
export function putSink(sink) {
  store.sinks.set(sink.sink, sink);
}

/** The sinks that do not get through. */
export function failingSinks() {
  return [...store.sinks.values()].filter((sink) => sink.state === 'failing').map((one) => one.sink);
}

/** The county was restored: an alert may have gone back to what it was, or never have been. */
export function believeAnew() {
  store.restored = true;
}

export function forgetAll() {
  Object.assign(store, empty());
}
