import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';
import {
  failingSinks, forgetAll, isPending, putAlert, putBroker, putDisk, putPending, putReadings, putSink,
  replaceAll, setCatalogue, store,
} from '../js/store.js';

const AT = '2026-11-22T02:00:00Z';
const alert = (revision, state = 'active_unack') => ({ id: 'a', revision, state });
const answer = (more) => ({ sites: [], devices: [], alerts: [], ...more });

beforeEach(() => {
  forgetAll();
  setCatalogue([{ metric: 'glu_cap_pl', kind: 'spot' }]);
});

test('an older word about an alert is not taken', () => {
  putAlert(alert(3));
  putAlert(alert(2, 'active_ack'));
  assert.equal(store.alerts.get('a').revision, 3);
  putAlert(alert(4, 'active_ack'));
  assert.equal(store.alerts.get('a').state, 'active_ack');
});

test('an alert that is over is not brought back by an older word', () => {
  putAlert(alert(3));
  putAlert(alert(4, 'closed'));
  putAlert(alert(3));
  assert.equal(store.alerts.size, 0);
  putAlert(alert(5));
  assert.equal(store.alerts.size, 1);
});

test('without a revision the last word counts', () => {
  putAlert(alert(undefined));
  putAlert(alert(undefined, 'closed'));
  assert.equal(store.alerts.size, 0);
  putAlert(alert(undefined));
  assert.equal(store.alerts.size, 1);
});

test('an answer does not overwrite what is newer, and what it leaves out is gone', () => {
  putAlert(alert(4, 'active_ack'));
  replaceAll(answer({ alerts: [alert(3)] }));
  assert.equal(store.alerts.get('a').state, 'active_ack');
  replaceAll(answer({}));
  assert.equal(store.alerts.size, 0);
});

test('alerts that are over are not remembered without end', () => {
  for (let id = 0; id < 2_000; id += 1) putAlert({ id: String(id), revision: 1, state: 'closed' });
  assert.equal(store.closed.size, 500);
});

test('the disk is good unless the county says otherwise', () => {
  replaceAll(answer({}));
  assert.equal(store.disk.state, 'good');
  replaceAll(answer({ disk: { state: 'full', free_mib: 3 } }));
  assert.deepEqual(store.disk, { state: 'full', free_mib: 3 });
  putDisk({ state: 'low', free_mib: 300 });
  assert.equal(store.disk.state, 'low');
});

test('sinks that do not get through are known until they do', () => {
  replaceAll(answer({}));
  assert.deepEqual(failingSinks(), []);
  replaceAll(answer({ sinks: [{ sink: 'phone', state: 'failing' }, { sink: 'lamp', state: 'good' }] }));
  putSink({ sink: 'lamp', state: 'failing' });
  assert.deepEqual(failingSinks(), ['phone', 'lamp']);
  putSink({ sink: 'phone', state: 'good' });
  replaceAll(answer({ sinks: [{ sink: 'phone', state: 'good' }] }));
  assert.deepEqual(failingSinks(), []);
});

test('the broker is up unless the county says otherwise', () => {
  replaceAll(answer({}));
  assert.equal(store.brokerUp, true);
  replaceAll(answer({ broker: { up: false } }));
  assert.equal(store.brokerUp, false);
  putBroker({ up: true });
  assert.equal(store.brokerUp, true);
});

test('the newest reading of each series is kept, and whose device is unknown is told', () => {
  const one = (value, measured, more) => ({
    site: 's', device: 'd', metric: 'glu_cap_pl', value, placed_time: AT, received_time: AT,
    measured_time: measured, ...more,
  });
  const before = one('100', '2026-11-21T02:00:00Z');
  const device = { site: 's', device: 'd', kind: 'glucose_meter', state: 'online', latest: [before] };
  replaceAll(answer({ devices: [device] }));
  const unknown = putReadings([
    one('54', AT), one('90', '2026-11-22T01:00:00Z'), { ...one('1', AT), device: 'other' },
  ]);
  assert.equal(store.devices.get('s:d').series.get('glu_cap_pl|').value, '54');
  assert.deepEqual(unknown.map((reading) => reading.device), ['other']);
});

test('a number is pending for the reading that is named and not for the next', () => {
  const of = { site: 'a', device: 'ecg-01', metric: 'hr', channel: '' };
  replaceAll(answer({ devices: [{ ...of, latest: [] }] }));
  const [first, second] = [AT, '2026-11-22T02:00:01Z'].map((at) => ({ ...of, measured_time: at }));
  store.changed.clear();
  putPending([first, { ...first, device: 'not-known' }]);
  assert.deepEqual([...store.changed], ['a:ecg-01']);
  assert.equal(store.pending.size, 1);
  assert.ok(isPending(first));
  assert.ok(!isPending(second));
  assert.ok(!isPending({ ...first, metric: 'spo2' }));
  replaceAll(answer({ devices: [{ ...of, latest: [] }] }));
  assert.ok(isPending(first));
  replaceAll(answer({}));
  assert.equal(store.pending.size, 0);
});
