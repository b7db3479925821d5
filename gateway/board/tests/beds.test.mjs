// Which tiles there are and where.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  ageParts, compareNames, inTurn, isWithoutRule, placesOf, ruleTags,
} from '../js/beds.js';

const device = (id, kind = 'monitor', clinic = '和平') => ({
  site: 'heping', device: id, clinic, kind,
});
const patient = (key, bed, more = {}) => ({
  patient: key, bed, clinic: '和平', discharged_at: null, ...more,
});
const binding = (id, key, bed = null) => ({
  site: 'heping', device: id, patient: key, bed,
});

test('all devices of a patient are in one tile, and beds stand as people count', () => {
  const places = placesOf({
    devices: [device('pump-1', 'pump'), device('ecg-1'), device('ecg-2'), device('ecg-9')],
    patients: [patient('p-10', '10'), patient('p-9', '9')],
    bindings: [binding('ecg-1', 'p-10'), binding('pump-1', 'p-10'), binding('ecg-2', 'p-9')],
  });
  assert.deepEqual(places.map((place) => [place.key, place.kind]), [
    ['p-9', 'patient'], ['p-10', 'patient'], ['heping:ecg-9', 'device'],
  ]);
  assert.deepEqual(places[1].devices.map((one) => one.device), ['ecg-1', 'pump-1']);
});

test('a ward is the begin of the label: beds of one ward stand together, and none is another\'s', () => {
  const beds = ['外2-3', '内1-10', '内2-3', '外1-1', '内1-3', '内10-1'];
  const places = placesOf({
    devices: [device('ecg-1'), device('ecg-2')],
    patients: [],
    bindings: [binding('ecg-1', null, '内1-3'), binding('ecg-2', null, '外2-3')],
    beds: beds.map((bed) => ({ clinic: '和平', bed })),
  });
  assert.deepEqual(places.map(({ bed, devices }) => [bed, devices.length]), [
    ['内1-3', 1], ['内1-10', 0], ['内2-3', 0], ['内10-1', 0], ['外1-1', 0], ['外2-3', 1],
  ]);
});

test('a township stands before the next, devices on nobody last in their own', () => {
  const places = placesOf({
    devices: [device('b', 'cuff', '东风'), device('a')],
    patients: [patient('p-1', '1'), patient('p-2', '1', { clinic: '东风' })],
    bindings: [],
  });
  assert.deepEqual(places.map((place) => place.key), ['p-2', 'heping:b', 'p-1', 'heping:a']);
});

test('a device at a bed without a patient is nobody s, and a bed that was left is empty', () => {
  const places = placesOf({
    devices: [device('ecg-1')],
    patients: [patient('p-3', '3')],
    bindings: [binding('ecg-1', null, '4')],
    beds: [{ clinic: '和平', bed: '3' }, { clinic: '和平', bed: '4' }, { clinic: '和平', bed: '5' }],
  });
  assert.deepEqual(places.map(({ kind, bed, patient: key }) => [kind, bed, key]), [
    ['patient', '3', 'p-3'], ['bed', '4', null], ['empty', '5', null],
  ]);
});

test('who has neither bed nor device has no tile, nor has who was discharged', () => {
  const patients = [patient('p-1', null), patient('p-2', '2', { discharged_at: 'x' })];
  assert.deepEqual(placesOf({ devices: [], patients, bindings: [] }), []);
  // A binding to somebody the caller may not see leaves the device without a patient.
  const [place] = placesOf({
    devices: [device('a')], patients: [], bindings: [binding('a', 'p-x')],
  });
  assert.deepEqual([place.kind, place.patient], ['device', null]);
});

test('the tag of the rules', () => {
  assert.deepEqual(ruleTags({ groups: [] }), ['adult']);
  assert.deepEqual(ruleTags({ groups: ['child'] }), ['child']);
  assert.deepEqual(ruleTags({ groups: ['elderly', 'pregnant'] }), ['pregnant', 'elderly']);
  assert.deepEqual(ageParts(23), { unit: 'months', n: 23 });
  assert.deepEqual(ageParts(846), { unit: 'years', n: 70 });
  assert.equal(ageParts(null), null);
});

test('a value has no rule where none of its classes has one, and nothing is said unknown', () => {
  const ruled = { classes: ['hr', 'nibp_sys'] };
  assert.equal(isWithoutRule(['weight'], ruled), true);
  assert.equal(isWithoutRule(['nibp_sys', 'nibp_mean'], ruled), false);
  assert.equal(isWithoutRule(['weight'], null), false);
  assert.equal(isWithoutRule([undefined], ruled), false);
});

test('numbers in names count as numbers', () => {
  assert.deepEqual(['10', '9', '2A', '2'].sort(compareNames), ['2', '2A', '9', '10']);
});

test('on a computer that draws two tiles of five at a time every tile has its turn', () => {
  const places = ['a', 'b', 'c', 'd', 'e'].map((key) => ({ key }));
  const drawn = [];
  let waiting = [];
  for (let second = 0; second < 5; second += 1) {
    waiting = inTurn(waiting, places, places);
    drawn.push(...waiting.splice(0, 2).map(({ key }) => key));
  }
  assert.equal(drawn.slice(0, 5).join(''), 'abcde');
  assert.equal(new Set(drawn.slice(-6)).size, 5, drawn.join(''));
  // One that is gone is not drawn, and one that is another by now is drawn as it is.
  const now = { key: 'd', bed: '9' };
  assert.deepEqual(inTurn([{ key: 'c' }, { key: 'd' }], [], [now]), [now]);
});
