// Paper, calibration pulse and a stretch of trace that stands still.

import { t } from './i18n.js';
import * as layout from './strip-layout.js';

const WORDS_MM = 3;

/** Small and big boxes. */
export function grid(context, widthPx, heightPx, colour, { pxPerMm, bigBoxPx }) {
  for (const [step, name] of [[pxPerMm, '--box'], [bigBoxPx, '--big-box']]) {
    context.fillStyle = colour(name);
    for (let x = 0; x <= widthPx; x += step) context.fillRect(x, 0, 1, heightPx);
    for (let y = 0; y <= heightPx; y += step) context.fillRect(0, y, widthPx, 1);
  }
}

/** One millivolt, 5 mm wide, from the base line. */
export function pulse(context, heightPx, { bigBoxPx: box, pxPerMv }) {
  const base = heightPx / 2;
  context.beginPath();
  context.moveTo(0, base);
  context.lineTo(box / 2, base);
  context.lineTo(box / 2, base - pxPerMv);
  context.lineTo(box * 1.5, base - pxPerMv);
  context.lineTo(box * 1.5, base);
  context.lineTo(box * 2, base);
  context.stroke();
}

/** A line at the edge of the paper where the trace is beyond it, or the signal was at its limit. */
export function edgeMark(context, { left, width }, edge, heightPx, { pxPerMm }) {
  const thickPx = pxPerMm / 2;
  context.fillRect(left, edge < 0 ? 0 : heightPx - thickPx, width, thickPx);
}

/** Marks points beyond the paper, `{x, y}` each: two millimetres wide, so that one beat's is seen. */
export function edgeMarks(context, points, heightPx, paper) {
  for (const { x, y } of points) {
    const mark = { left: x - paper.pxPerMm, width: 2 * paper.pxPerMm };
    edgeMark(context, mark, layout.edgeOf(y, heightPx), heightPx, paper);
  }
}

/** The moment of an alert. */
export function alertMark(context, x, heightPx, colour, { pxPerMm }) {
  // On paper the dots are finer than on a screen.
  const sizePx = Math.max(14, WORDS_MM * pxPerMm);
  context.fillStyle = colour('--pen');
  context.fillRect(x - pxPerMm / 4, 0, pxPerMm / 2, heightPx);
  context.font = `bold ${sizePx}px sans-serif`;
  context.textAlign = 'center';
  context.fillText('▼', x, 0.85 * sizePx);
}

/** That the trace is taller than paper of that height, where a scale says how tall it is. */
export function beyondText(blocks, heightMm, now) {
  if (!layout.leavesPaper(blocks, null, heightMm * now.pxPerMm, now)) return '';
  return t(now.gain > layout.GAINS[0] ? 'strip.beyond' : 'strip.beyond_least');
}

/**
 * How long a gap is, or that it goes on, as far as there is room within it: words beside it would
 * cover the trace.
 */
export function gapWords(context, { from, to, why }, { left, width }, colour, { pxPerMm }, goesOn = false) {
  const s = ((to - from) / 1000).toFixed(1);
  const texts = goesOn ? [t('strip.gap.goes_on')] : [t(`strip.gap.${why}`, { s }), t('age.s', { s }), s];
  context.save();
  // On paper the dots are finer than on a screen.
  const sizePx = Math.max(13, WORDS_MM * pxPerMm);
  context.font = `${sizePx}px sans-serif`;
  context.textAlign = 'center';
  context.fillStyle = colour('--gap-text');
  const words = texts.find((text) => context.measureText(text).width < width - 2);
  if (words) context.fillText(words, left + width / 2, 1.5 * sizePx);
  context.restore();
}

/**
 * The trace from `from` to `to` at the left of `context`, with gaps, and lines where it is beyond the
 * paper or the signal was at its limit. `others` is when the beats were somebody else's; `range` is
 * for what has no scale. `rows`: where it is a row of several on paper, all of them: a gap over two
 * says in one how long it is.
 */
export function stretch(context, {
  blocks, others = [], from, to, heightPx, colour, paper, range, rows = [{ from, to }],
}) {
  const x = (at) => ((at - from) / 1000) * paper.pxPerSecond;
  context.save();
  context.beginPath();
  context.rect(0, 0, x(to), heightPx);
  context.clip();
  const all = [...blocks, ...others].sort((a, b) => a.start - b.start);
  const gaps = layout.gapsWithin(all, { from: rows[0].from, to: rows[rows.length - 1].to });
  for (const gap of gaps) {
    if (gap.to < from || gap.from > to) continue;
    const [left, right] = [Math.max(from, gap.from), Math.min(to, gap.to)];
    context.fillStyle = colour('--gap');
    context.fillRect(x(left), 0, x(right) - x(left), heightPx);
    gapWords(context, gap, { left: x(left), width: x(right) - x(left) }, colour, paper, layout.rowOf(gap, rows).from !== from);
  }
  context.strokeStyle = colour('--trace');
  context.lineWidth = 1.5;
  context.beginPath();
  const beyond = [];
  let before = null;
  for (const block of blocks) {
    const off = block.flags.includes('lead_off');
    if (off || block.end < from || block.start > to) {
      before = null;
      continue;
    }
    let goesOn = Boolean(before) && layout.touches(before, block);
    const isDrawn = layout.drawnOf(block, gaps);
    block.samples.forEach((sample, index) => {
      const atMs = block.start + index * block.periodMs;
      if (!isDrawn(atMs)) {
        goesOn = false;
        return;
      }
      const at = x(atMs);
      const y = layout.yOf(sample, block, range, heightPx, paper);
      if (goesOn) context.lineTo(at, y);
      else context.moveTo(at, y);
      if (layout.edgeOf(y, heightPx)) beyond.push({ x: at, y });
      goesOn = true;
    });
    before = block;
  }
  context.stroke();
  context.fillStyle = colour('--rail');
  edgeMarks(context, beyond, heightPx, paper);
  for (const block of blocks.filter((one) => one.flags.includes('saturation'))) {
    const span = { left: x(block.start), width: x(block.end) - x(block.start) };
    for (const edge of [-1, 1]) edgeMark(context, span, edge, heightPx, paper);
  }
  context.restore();
}
