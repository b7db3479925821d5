// A strip on A4: rows of ten seconds in true millimetres, black on white.

import { h } from './dom.js';
import { timeSeconds } from './format.js';
import { printAway } from './print.js';
import {
  alertMark, beyondText, grid, pulse, stretch,
} from './strip-paint.js';
import { paperOf } from './strip-layout.js';
import { paper } from './strip-settings.js';

/** Dots of the picture for each millimetre on paper. */
const PX_PER_MM = 8;
const HEIGHT_MM = 30;
/** As much as a row of A4 across holds beside the calibration pulse. */
const ROW_MM = 250;
const COLOURS = {
  '--box': '#DDDDDD', '--big-box': '#AAAAAA', '--trace': '#000000', '--gap': '#FFFFFF',
  '--gap-text': '#000000', '--rail': '#D50000', '--pen': '#000000',
};

/** Prints the stretch from `from` to `to` under its heading and these words; `onFailed()`: no window opened. */
export function printStrip({
  blocks, others, alert, from, to, range, isScaled, heading, words,
}, onFailed) {
  const chosen = paper();
  const sheet = paperOf({ speed: chosen.speed, gain: chosen.gain, pxPerMm: PX_PER_MM });
  const rowMs = (ROW_MM / chosen.speed) * 1000;
  const rows = [];
  for (let at = from; at < to; at += rowMs) rows.push({ from: at, to: Math.min(to, at + rowMs) });
  const printed = rows.map((own) => (
    h('div', { class: 'print-row' }, h('p', {}, `${timeSeconds(own.from)}–${timeSeconds(own.to)}`), row({
      blocks, others, alert, ...own, rows, range, isScaled, sheet,
    }))));
  // Rows on paper are lower than the strip on the screen.
  const beyond = isScaled ? beyondText(blocks, HEIGHT_MM, sheet) : '';
  printAway(h('section', { class: 'print-page' }, h('h2', {}, heading),
    ...[...words, beyond].filter(Boolean).map((text) => h('p', {}, text)), ...printed), onFailed);
}

function row({
  blocks, others, alert, from, to, rows, range, isScaled, sheet,
}) {
  const margin = isScaled ? sheet.pulsePx : 0;
  const widthPx = Math.ceil(((to - from) / 1000) * sheet.pxPerSecond + margin);
  const heightPx = HEIGHT_MM * PX_PER_MM;
  const canvas = h('canvas', { width: widthPx, height: heightPx });
  canvas.style.width = `${widthPx / PX_PER_MM}mm`;
  canvas.style.height = `${HEIGHT_MM}mm`;
  const context = canvas.getContext('2d');
  const colour = (name) => COLOURS[name];
  context.fillStyle = '#FFFFFF';
  context.fillRect(0, 0, widthPx, heightPx);
  grid(context, widthPx, heightPx, colour, sheet);
  context.strokeStyle = '#000000';
  context.lineWidth = 2;
  if (isScaled) pulse(context, heightPx, sheet);
  context.save();
  context.translate(margin, 0);
  stretch(context, {
    blocks, others, from, to, rows, heightPx, colour, paper: sheet, range,
  });
  const atMs = alert ? Date.parse(alert.started_at) : NaN;
  if (atMs >= from && atMs < to) {
    alertMark(context, ((atMs - from) / 1000) * sheet.pxPerSecond, heightPx, colour, sheet);
  }
  context.restore();
  return canvas;
}
