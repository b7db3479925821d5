import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';
import {
  forgetAll, putAlert, putBroker, putReadings, replaceAll, setCatalogue, store,
} from '../js/store.js';

const AT = '2026-11-22T02:00:00Z';
const alert = (revision, state = 'active_unack') => ({ id: 'a', revision, state });
const answer = (more) => ({ sites: [], devices: [], alerts: [], ...more });

beforeEach(() => {
  forgetAll();
  setCatalogue([{ metric: 'glu_cap_pl', kind: 'spot' }, { metric: 'clock_offset', kind: 'stream' }]);
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

test('the broker is up unless the county says otherwise', () => {
  replaceAll(answer({}));
  assert.equal(store.brokerUp, true);
  replaceAll(answer({ broker: { up: false } }));
  assert.equal(store.brokerUp, false);
  putBroker({ up: true });
  assert.equal(store.brokerUp, true);
});

test('how a meter\'s clock stands is taken before its values', () => {
  const one = (metric, observed, more) => ({
    site: 's', device: 'd', metric, observed_time: observed, received_time: observed, ...more,
  });
  const before = one('glu_cap_pl', '2026-11-21T02:00:00Z', {
    value: '100', device_time: '2026-11-21T02:00:00Z',
  });
  const device = { site: 's', device: 'd', kind: 'glucose_meter', state: 'online', latest: [before] };
  replaceAll(answer({ devices: [device] }));
  const ahead = (Date.parse('2026-11-20T00:00:00Z') - Date.parse(AT)) / 1000;
  const unknown = putReadings([
    one('glu_cap_pl', AT, { value: '54', device_time: '2026-11-19T23:59:00Z' }),
    one('clock_offset', AT, { value: String(ahead) }),
    { ...one('glu_cap_pl', AT, { value: '1' }), device: 'other' },
  ]);
  assert.equal(store.devices.get('s:d').series.get('glu_cap_pl|').value, '54');
  assert.deepEqual(unknown.map((reading) => reading.device), ['other']);
});
