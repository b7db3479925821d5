// Paper, calibration pulse and a stretch of trace that stands still.

import { t } from './i18n.js';
import * as layout from './strip-layout.js';

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

/**
 * The trace from `from` to `to` at the left of `context`, with gaps, and lines where the signal was
 * at its limit. `range` is for what has no scale.
 */
export function stretch(context, {
  blocks, from, to, heightPx, colour, paper, range,
}) {
  const x = (at) => ((at - from) / 1000) * paper.pxPerSecond;
  context.save();
  context.beginPath();
  context.rect(0, 0, x(to), heightPx);
  context.clip();
  context.font = '13px sans-serif';
  context.textAlign = 'center';
  const first = blocks[0];
  const lead = first && first.start > from ? [{ from, to: first.start, why: 'missing' }] : [];
  for (const gap of [...lead, ...layout.gaps(blocks, to)]) {
    if (gap.to < from || gap.from > to) continue;
    const [left, right] = [Math.max(from, gap.from), Math.min(to, gap.to)];
    context.fillStyle = colour('--gap');
    context.fillRect(x(left), 0, x(right) - x(left), heightPx);
    context.fillStyle = colour('--gap-text');
    const seconds = ((gap.to - gap.from) / 1000).toFixed(1);
    context.fillText(t(`strip.gap.${gap.why}`, { s: seconds }), (x(left) + x(right)) / 2, 19);
  }
  context.strokeStyle = colour('--trace');
  context.lineWidth = 1.5;
  context.beginPath();
  let before = null;
  for (const block of blocks) {
    const off = block.flags.includes('lead_off');
    if (off || block.end < from || block.start > to) {
      before = null;
      continue;
    }
    let goesOn = Boolean(before) && layout.touches(before, block);
    block.samples.forEach((sample, index) => {
      const at = x(block.start + index * block.periodMs);
      const y = layout.yOf(sample, block, range, heightPx, paper);
      if (goesOn) context.lineTo(at, y);
      else context.moveTo(at, y);
      goesOn = true;
    });
    before = block;
  }
  context.stroke();
  context.fillStyle = colour('--rail');
  for (const block of blocks.filter((one) => one.flags.includes('saturation'))) {
    for (const top of [0, heightPx - 2]) {
      context.fillRect(x(block.start), top, x(block.end) - x(block.start), 2);
    }
  }
  context.restore();
}
