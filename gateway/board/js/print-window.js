// The window that prints: it asks the board for its sheet, prints it and goes away.

import { h } from './dom.js';

function built(part) {
  if (typeof part === 'string') return document.createTextNode(part);
  const { tag, attributes, children = [], pixels, size } = part;
  const element = h(tag, Object.fromEntries(attributes), ...children.map(built));
  if (pixels) {
    [element.width, element.height] = [pixels.width, pixels.height];
    [element.style.width, element.style.height] = size;
    element.getContext('2d').putImageData(pixels, 0, 0);
  }
  return element;
}

const channel = new BroadcastChannel(`print-sheet-${window.location.hash.slice(1)}`);
channel.onmessage = ({ data }) => {
  document.documentElement.lang = data.language;
  document.body.replaceChildren(built(data.sheet));
  window.addEventListener('afterprint', () => window.close());
  window.print();
};
channel.postMessage('ready');
