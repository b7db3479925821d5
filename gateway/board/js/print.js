// Printing from a window of its own: while a browser shows its preview it stops every page of the
// same process, and a board that stands still neither shows nor sounds an alert.

import * as clock from './clock.js';

/** Without `noopener` both windows share a process. */
const WINDOW = 'noopener,width=1000,height=800';
/** A window that was not allowed to open says nothing. */
const OPEN_MS = 10_000;
const ATTRIBUTES = /^(class|scope|colspan|data-[a-z-]+)$/;

/** What stands in an element, as it can be sent to another window: no name goes into an address. */
function sheetOf(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.nodeType !== Node.ELEMENT_NODE || node.hidden || node.tagName === 'BUTTON') return null;
  const tag = node.tagName.toLowerCase();
  // Attributes say what a form began with, and not what somebody chose or typed.
  if (tag === 'select') return node.selectedOptions[0]?.text ?? '';
  if (tag === 'input') return node.value;
  const attributes = [...node.attributes].filter(({ name }) => ATTRIBUTES.test(name))
    .map(({ name, value }) => [name, value]);
  if (tag === 'canvas') {
    const { width, height, style } = node;
    return {
      tag, attributes, size: [style.width, style.height],
      pixels: node.getContext('2d').getImageData(0, 0, width, height),
    };
  }
  return { tag, attributes, children: [...node.childNodes].map(sheetOf).filter((one) => one !== null) };
}

/** Prints an element; `onFailed()`: no window opened. */
export function printAway(element, onFailed) {
  const id = [...crypto.getRandomValues(new Uint32Array(4))].join('-');
  const channel = new BroadcastChannel(`print-sheet-${id}`);
  const sheet = sheetOf(element);
  const timer = clock.after(OPEN_MS, () => {
    channel.close();
    onFailed();
  });
  channel.onmessage = () => {
    clock.cancel(timer);
    channel.postMessage({ sheet, language: document.documentElement.lang });
    channel.close();
  };
  window.open(`print.html#${id}`, '_blank', WINDOW);
}
