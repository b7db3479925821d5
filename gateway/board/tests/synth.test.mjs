// Chapter 3 of the nurse board: what the sounds are made of.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Sound } from '../js/sound.js';
import { PATTERNS, samplesOf } from '../js/synth.js';

const RATE = 48_000;

/** How loud one frequency is in a stretch of samples. */
function loudness(samples, hz) {
  let [sine, cosine] = [0, 0];
  samples.forEach((sample, index) => {
    sine += sample * Math.sin((2 * Math.PI * hz * index) / RATE);
    cosine += sample * Math.cos((2 * Math.PI * hz * index) / RATE);
  });
  return Math.hypot(sine, cosine) / samples.length;
}

/** Lengths of what is not silent, in milliseconds; a wave that crosses zero is not silent. */
function pulses(samples) {
  const lengths = [];
  let [from, last] = [null, 0];
  samples.forEach((sample, index) => {
    if (Math.abs(sample) < 1e-4) return;
    if (from === null || index - last > RATE / 50) {
      if (from !== null) lengths.push((last - from) / (RATE / 1000));
      from = index;
    }
    last = index;
  });
  return [...lengths, (last - from) / (RATE / 1000)];
}

test('a pulse is as long as its priority has it', () => {
  for (const [pattern, least, most] of [['high', 75, 200], ['medium', 125, 250], ['low', 125, 250]]) {
    const lengths = pulses(samplesOf(pattern, RATE));
    assert.equal(lengths.length, PATTERNS[pattern].onsets.length, pattern);
    assert.ok(lengths.every((ms) => ms >= least && ms <= most), `${pattern}: ${lengths}`);
  }
});

test('a pitch of 150 to 1000 Hz, the same for all, with four harmonics within 15 dB', () => {
  const pitches = Object.keys(PATTERNS).map((pattern) => {
    const pulse = samplesOf(pattern, RATE).slice(0, RATE * 0.14);
    const tones = Array.from({ length: 1700 }, (_, step) => 150 + step / 2);
    const loudest = tones.reduce((best, hz) => (
      loudness(pulse, hz) > loudness(pulse, best) ? hz : best));
    const first = loudness(pulse, loudest);
    const near = [2, 3, 4, 5].map((times) => 20 * Math.log10(loudness(pulse, times * loudest) / first));
    assert.ok(near.every((db) => Math.abs(db) <= 15), `${pattern}: ${near}`);
    return loudest;
  });
  assert.ok(Math.max(...pitches) - Math.min(...pitches) <= 5, String(pitches));
});

test('nobody turns the sound lower than a third, by hand or by what the browser kept', () => {
  const kept = new Map();
  globalThis.localStorage = {
    getItem: (name) => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text), removeItem: (name) => kept.delete(name),
  };
  globalThis.AudioContext = class {
    createGain() {
      return { gain: { value: null }, connect() {} };
    }

    addEventListener() {}
  };
  const loud = (sound) => [sound.volume, sound.gain.gain.value];
  const sound = new Sound(() => {});
  assert.deepEqual(loud(sound), [1, 1]);
  for (const [asked, heard] of [[0, 0.3], [0.29, 0.3], [0.5, 0.5], [4, 1]]) {
    sound.setVolume(asked);
    assert.deepEqual(loud(sound), [heard, heard]);
    assert.deepEqual([...kept.values()], [String(heard)]);
  }
  for (const [stored, heard] of [['0.01', 0.3], ['-1', 0.3], ['0.6', 0.6], ['nothing', 1]]) {
    kept.set([...kept.keys()][0], stored);
    assert.deepEqual(loud(new Sound(() => {})), [heard, heard], stored);
  }
});
