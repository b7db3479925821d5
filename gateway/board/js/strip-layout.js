// Where a sample lies on the strip: boxes, sweep, gaps, scale (nurse board, chapter 5). Pure.
//
// One millimetre of paper is one small box of 4 px, or of as many as make one on a calibrated screen;
// both axes are drawn by boxes and never stretched.

export const SPEEDS = [12.5, 25, 50];
export const GAINS = [5, 10, 20];
/** Paper left empty in front of the pen. */
const ERASER_MS = 400;

/** How long and high things are on paper of that speed (mm/s) and gain (mm/mV). */
export function paperOf({ pxPerMm = 4, speed = 25, gain = 10 } = {}) {
  return {
    speed,
    gain,
    pxPerMm,
    bigBoxPx: 5 * pxPerMm,
    pxPerSecond: pxPerMm * speed,
    pxPerMv: pxPerMm * gain,
    // The calibration pulse stands in this much paper left of the trace.
    pulsePx: 10 * pxPerMm,
  };
}

const PAPER = paperOf();

/** Below this rate a strip is good for rhythm only. */
export const DIAGNOSTIC_HZ = 250;
/** Blocks are stamped in milliseconds; two that are nearer than this touch. */
const TOUCHING_MS = 20;
/** Blocks older than this are off every screen. */
const KEPT_MS = 30_000;
/** The delay of the live strip: blocks are a second long and travel. */
const DELAY_MIN_MS = 2_000;
const DELAY_MAX_MS = 10_000;
const MARGIN_MS = 500;
/** A block further from the county's time than this is no live signal. */
const LIVE_MS = DELAY_MAX_MS;
/** Half the least height in counts: the noise of a flat line must not look like a rhythm. */
const COUNTS_MIN = 32;

/** The widest sweep of whole big boxes that fits, at least `leastPx`. */
export function sweepWidth(availablePx, leastPx, { bigBoxPx } = PAPER) {
  return Math.floor(Math.max(availablePx, leastPx) / bigBoxPx) * bigBoxPx;
}

/** Milliseconds that fit on a sweep. */
export function windowMs(widthPx, { pxPerSecond } = PAPER) {
  return (widthPx * 1000) / pxPerSecond;
}

/** The moment at the left edge of the sweep. */
export function leftEdgeMs(penMs, widthPx, paper = PAPER) {
  const span = windowMs(widthPx, paper);
  return Math.floor(penMs / span) * span;
}

/** Pixels from the left edge. */
export function xOf(atMs, widthPx, paper = PAPER) {
  const span = windowMs(widthPx, paper);
  return ((((atMs % span) + span) % span) / span) * widthPx;
}

/** The moments that are on paper: the sweep without what the eraser took. */
export function visible(penMs, widthPx, paper = PAPER) {
  return { from: penMs - windowMs(widthPx, paper) + ERASER_MS, to: penMs };
}

/** A block of the API with its start and end in milliseconds. */
export function prepared(block) {
  const start = Date.parse(block.start);
  const periodMs = (block.period.num * 1000) / block.period.den;
  const scale = block.scale === null || block.scale === undefined ? null : Number(block.scale);
  return {
    start,
    end: start + block.samples.length * periodMs,
    periodMs,
    scale: Number.isFinite(scale) ? scale : null,
    offset: Number(block.offset ?? 0),
    unit: block.unit,
    samples: block.samples,
    flags: block.flags || [],
    ...extremes(block.samples),
  };
}

function extremes(samples) {
  let [low, high] = [Infinity, -Infinity];
  for (const sample of samples) {
    if (sample < low) low = sample;
    if (sample > high) high = sample;
  }
  return { low, high };
}

/** Blocks in order with the new one; none twice, none that is long past. */
export function withBlock(blocks, block, nowMs) {
  const kept = blocks.filter((old) => old.end > nowMs - KEPT_MS && old.start !== block.start);
  return [...kept, block].sort((a, b) => a.start - b.start);
}

/** Whether the second block goes on where the first ends. */
export function touches(before, after) {
  return Math.abs(after.start - before.end) <= TOUCHING_MS;
}

/**
 * Runs up to the pen of which there is no trace: `{from, to, why}`; `why` is `missing`, `lead_off`,
 * `others` (left out: it is of somebody else) or, where blocks say two things of one moment, `overlap`: one on the other they would look like beats
 * that never were.
 */
export function gaps(blocks, penMs) {
  const found = [];
  const add = (from, to, why) => {
    const last = found[found.length - 1];
    if (last && last.why === why && from - last.to <= TOUCHING_MS) last.to = Math.max(last.to, to);
    else if (to - from > TOUCHING_MS) found.push({ from, to, why });
  };
  /** How far the blocks before reach. */
  let reached = Infinity;
  for (const { start, end, flags } of blocks) {
    if (start - reached > TOUCHING_MS) add(reached, start, 'missing');
    if (reached < Infinity && reached - start > TOUCHING_MS) add(start, Math.min(reached, end), 'overlap');
    for (const why of ['lead_off', 'others']) if (flags.includes(why)) add(start, end, why);
    reached = reached < Infinity ? Math.max(reached, end) : end;
  }
  if (penMs > reached) add(reached, penMs, 'missing');
  return found.map((gap) => ({ ...gap, to: Math.min(gap.to, penMs) }))
    .filter((gap) => gap.to > gap.from);
}

/** The gaps of a stretch of time, of which nothing may have come before its first block. */
export function gapsWithin(blocks, { from, to }) {
  const [first] = blocks;
  const lead = first && first.start > from ? [{ from, to: first.start, why: 'missing' }] : [];
  return [...lead, ...gaps(blocks, to)];
}

/** Which row of paper says how long a gap is: the one with most of it. */
export function rowOf(gap, rows) {
  const shares = rows.map(({ from, to }) => Math.min(gap.to, to) - Math.max(gap.from, from));
  return rows[shares.indexOf(Math.max(...shares))];
}

/** Whether a sample of a block is drawn, as a function of its moment. */
export function drawnOf(block, gapsOfAll) {
  const hidden = gapsOfAll.filter(({ from, to, why }) => (
    why === 'overlap' && to > block.start && from < block.end));
  return (at) => !hidden.some(({ from, to }) => at >= from && at < to);
}

/** Parts of a stretch of time on paper: one, or two where it goes round the edge. */
export function spans(from, to, penMs, widthPx, paper = PAPER) {
  const shown = visible(penMs, widthPx, paper);
  const start = Math.max(from, shown.from);
  const end = Math.min(to, shown.to);
  if (end <= start) return [];
  const left = xOf(start, widthPx, paper);
  const width = ((end - start) / windowMs(widthPx, paper)) * widthPx;
  if (left + width <= widthPx) return [{ left, width }];
  return [{ left, width: widthPx - left }, { left: 0, width: left + width - widthPx }];
}

/** The delay that fits the latest blocks: whole half seconds, so that it seldom changes. */
export function delayFor(lagsMs) {
  const wanted = Math.max(0, ...lagsMs) + MARGIN_MS;
  return Math.min(DELAY_MAX_MS, Math.max(DELAY_MIN_MS, Math.ceil(wanted / 500) * 500));
}

/** Whether a block that came `lagMs` after its end is live. */
export function isLive(lagMs) {
  return lagMs > -LIVE_MS && lagMs < LIVE_MS;
}

/** Whether every block has a scale in millivolts. */
export function isCalibrated(blocks) {
  return blocks.length > 0 && blocks.every((block) => block.scale !== null && block.unit === 'mV');
}

/**
 * The counts that an uncalibrated strip spans: `{low, high}`. It only ever grows: a line that goes
 * flat must look flat.
 */
export function grownRange(range, samples) {
  const { low, high } = extremes(range ? [range.low, range.high, ...samples] : samples);
  const lack = COUNTS_MIN * 2 - (high - low);
  if (lack <= 0) return { low, high };
  return { low: low - lack / 2, high: high + lack / 2 };
}

/** The height of a sample: pixels from the top of a strip of that height. */
export function yOf(sample, block, range, heightPx, { pxPerMv } = PAPER) {
  if (!range) return heightPx / 2 - (sample - block.offset) * block.scale * pxPerMv;
  const inner = heightPx * 0.9;
  return heightPx * 0.05 + ((range.high - sample) / (range.high - range.low)) * inner;
}

/** The edge by which a height is beyond the paper: -1 the upper, 1 the lower, 0 where it is on it. */
export function edgeOf(y, heightPx) {
  return Number(y > heightPx) - Number(y < 0);
}

/** Whether some of a trace is taller than the paper: what is cut off must be said. */
export function leavesPaper(blocks, range, heightPx, paper = PAPER) {
  const isBeyond = (sample, block) => edgeOf(yOf(sample, block, range, heightPx, paper), heightPx) !== 0;
  return blocks.some((block) => !block.flags.includes('lead_off')
    && (isBeyond(block.low, block) || isBeyond(block.high, block)));
}

/** What a place on paper is of the trace: its moment and millivolts, or millimetres without a scale. */
export function pointOf({ x, y }, heightPx, paper) {
  return { ms: (x / paper.pxPerSecond) * 1000, level: (heightPx / 2 - y) / levelPx(paper) };
}

/** Where that is on this paper. */
export function placeOf({ ms, level }, heightPx, paper) {
  return { x: (ms / 1000) * paper.pxPerSecond, y: heightPx / 2 - level * levelPx(paper) };
}

const levelPx = ({ gain, pxPerMv, pxPerMm }) => (gain === null ? pxPerMm : pxPerMv);

/** What two calipers say: milliseconds, beats in a minute, and millivolts where there is a scale. */
export function between(a, b, isScaled) {
  const ms = Math.abs(b.ms - a.ms);
  return {
    ms: Math.round(ms),
    bpm: ms >= 1 ? Math.round(60_000 / ms) : null,
    mv: isScaled ? Math.abs(b.level - a.level).toFixed(2) : null,
  };
}

/** A bank card is this wide: with it a person tells how large this screen is. */
const CARD_MM = 85.6;

/** Pixels of a millimetre, where a card covers so many; `null` where that cannot be. */
export function pxPerMmOf(cardPx) {
  const px = cardPx / CARD_MM;
  return px >= 2 && px <= 12 ? px : null;
}
