// The sounds of the board, made by adding harmonics: numbers only, no audio needed. Pure.
//
// The priority is in the rhythm, not in the pitch (nurse board, chapter 3).

/** One pitch for all; five harmonics within 11 dB, so that small loudspeakers carry it too. */
const PITCH_HZ = 523;
const HARMONICS = [1, 0.75, 0.55, 0.4, 0.3];
/** A pulse swells and falls within this: no click. */
const EDGE_S = 0.02;
const LEVEL = 0.9;

const every = (seconds, count, from = 0) => (
  Array.from({ length: count }, (_, index) => from + index * seconds));
// Three and two pulses, and the same again.
const FIVE = [...every(0.225, 3), ...every(0.225, 2, 0.9)];

/** Where the pulses of each sound begin, and how long one is, in seconds. */
export const PATTERNS = {
  high: { pulse: 0.15, onsets: [...FIVE, ...FIVE.map((at) => at + 1.9)] },
  medium: { pulse: 0.2, onsets: every(0.4, 3) },
  low: { pulse: 0.2, onsets: every(0.4, 2) },
};

/** How long a sound is, in seconds. */
export function lengthOf({ pulse, onsets }) {
  return onsets[onsets.length - 1] + pulse;
}

/** A sound as samples between -1 and 1. */
export function samplesOf(pattern, rate) {
  const { pulse, onsets } = PATTERNS[pattern];
  const samples = new Float32Array(Math.ceil(lengthOf(PATTERNS[pattern]) * rate));
  const sum = HARMONICS.reduce((a, b) => a + b, 0);
  for (const onset of onsets) {
    const first = Math.round(onset * rate);
    const count = Math.min(Math.round(pulse * rate), samples.length - first);
    for (let index = 0; index < count; index += 1) {
      const at = index / rate;
      const edge = Math.min(1, at / EDGE_S, (pulse - at) / EDGE_S);
      let wave = 0;
      HARMONICS.forEach((height, place) => {
        wave += height * Math.sin(2 * Math.PI * PITCH_HZ * (place + 1) * at);
      });
      samples[first + index] = (LEVEL * Math.max(0, edge) * wave) / sum;
    }
  }
  return samples;
}
