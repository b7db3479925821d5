// What a person would see: shapes, contrasts, flashes, and what axe finds.

import { readFileSync } from 'node:fs';

const AXE = readFileSync(new URL('axe/axe.min.js', import.meta.url), 'utf8');

/** What axe finds that is serious or worse. */
export async function serious(page) {
  await page.send('Runtime.evaluate', { expression: AXE });
  return page.run(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
  });
}

/** How much the shapes of elements differ to the eyes of the page, from 0 to 1, each with each. */
export async function shapes(page, selectors) {
  await page.run(() => document.getAnimations().forEach((one) => {
    one.pause();
    one.currentTime = 0;
  }));
  const pictures = [];
  for (const css of selectors) pictures.push(await page.picture(css));
  const differ = await page.run(async (images) => {
    const size = 24;
    const masks = await Promise.all(images.map(async (data) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = document.createElement('canvas');
      canvas.width = size;
      canvas.height = size;
      const context = canvas.getContext('2d');
      context.drawImage(image, 0, 0, size, size);
      const { data: pixels } = context.getImageData(0, 0, size, size);
      // In every colour that the eyes have: cyan on black differs in no red.
      const far = (place) => [0, 1, 2].some((part) => Math.abs(pixels[place * 4 + part] - pixels[part]) > 60);
      return Array.from({ length: size * size }, (_, place) => far(place));
    }));
    const apart = (a, b) => a.filter((one, place) => one !== b[place]).length / a.length;
    return masks.map((a) => masks.map((b) => apart(a, b)));
  }, pictures);
  return { differ };
}

/** In the page: each text under `css`, with the contrast to what is behind it. */
export function contrasts(css) {
  const numbers = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((one) => {
      const part = one / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  /** Every colour that may be behind an element: of a hatch both. */
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const { backgroundColor, backgroundImage } = getComputedStyle(one);
      const hatch = backgroundImage.match(/rgba?\([^)]*\)/g);
      if (hatch) return hatch.map(numbers);
      const colour = numbers(backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return [colour];
    }
    return [[255, 255, 255]];
  };
  const found = [];
  for (const row of document.querySelectorAll(css)) {
    for (const element of row.querySelectorAll('*')) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      if (!own || !element.getClientRects().length || element.disabled) continue;
      const text = light(numbers(getComputedStyle(element).color));
      for (const colour of behind(element)) {
        const paper = light(colour);
        const ratio = (Math.max(text, paper) + 0.05) / (Math.min(text, paper) + 0.05);
        found.push({
          ratio: Math.round(ratio * 100) / 100,
          what: element.className || element.tagName,
          state: row.dataset.state,
          priority: row.dataset.priority,
        });
      }
    }
  }
  return found;
}

/** In the page: how often a second of its clock each element goes dark, looked at every 20 ms. */
export async function flashes(selectors, ms) {
  const elements = selectors.flatMap((css) => [...document.querySelectorAll(css)]);
  const seen = elements.map(() => ({ last: null, falls: 0 }));
  const animations = document.getAnimations();
  animations.forEach((one) => one.pause());
  for (let at = 0; at < ms; at += 20) {
    await window.__test.pass(20);
    animations.forEach((one) => {
      one.currentTime = at;
    });
    elements.forEach((element, place) => {
      const own = Number(getComputedStyle(element).opacity);
      const edge = Number(getComputedStyle(element, '::before').opacity);
      const now = own * edge;
      const { last } = seen[place];
      if (last !== null && now < last) seen[place].falls += 1;
      seen[place].last = now;
    });
  }
  animations.forEach((one) => one.play());
  return seen.map(({ falls }) => falls / (ms / 1000));
}

/** In the page: whether one sees where the focus is. */
export function isRinged() {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return document.activeElement !== document.body && outlineStyle !== 'none'
    && parseFloat(outlineWidth) >= 2;
}
