// What Chromium 86 does not know (common on the desktops where the board stands), and text in code.
//
// Tests run a newer browser and would not notice. Told by words, not by a parser: each line says
// since which version a thing exists.

const JS = [
  [/(?<![\w.])(?:await)\s/, 89, 'await outside a function', 'top'],
  [/\bstatic\s*\{/, 94, 'static block'],
  [/#\w+\s+in\s/, 91, '#private in'],
  [/\.at\(/, 92, '.at()'],
  [/\bObject\.(?:hasOwn|groupBy)\b/, 93, 'Object.hasOwn, Object.groupBy'],
  [/\bstructuredClone\b/, 98, 'structuredClone'],
  [/\.findLast(?:Index)?\(/, 97, '.findLast()'],
  [/\.(?:toSorted|toReversed|toSpliced|with)\(/, 110, '.toSorted() and the like'],
  [/\brandomUUID\b/, 92, 'crypto.randomUUID'],
  [/\bAbortSignal\.(?:timeout|any|abort)\b/, 103, 'AbortSignal.timeout, .any, .abort'],
  [/\bthrowIfAborted\b/, 100, '.throwIfAborted()'],
  [/\bPromise\.(?:withResolvers|try)\b/, 119, 'Promise.withResolvers'],
  [/\bArray\.fromAsync\b/, 121, 'Array.fromAsync'],
  [/\bIntl\.(?:Segmenter|DurationFormat|supportedValuesOf)\b/, 87, 'Intl.Segmenter and the like'],
  [/\{\s*cause\s*[:}]/, 93, 'cause of an error'],
  [/\.(?:checkVisibility|showPicker|showPopover|togglePopover|requestClose)\(/, 99, 'of elements'],
  [/\.(?:roundRect|createConicGradient)\(/, 99, 'of a canvas'],
  [/\.(?:letterSpacing|wordSpacing|inert|popover)\b/, 99, 'of a canvas or an element'],
  [/\bscheduler\./, 94, 'scheduler'],
  [/\bnavigator\.userAgentData\b/, 90, 'navigator.userAgentData'],
  [/\bimport\b[^;]*\b(?:assert|with)\s*\{/, 91, 'import with attributes'],
  [/\/[gimsuy]*[dv][gimsuy]*(?=[;,.)])/, 90, 'flags d and v of an expression'],
];
/** The time and every timer come from one place, which the tests take into their hand. */
const CLOCK = 'js/clock.js';
const TIME = [
  [/\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b/, 'the time'],
  [/(?<![\w.])(?:window\.)?(?:setTimeout|setInterval|requestAnimationFrame|requestIdleCallback)\(/, 'a timer'],
];
const CSS = [
  [/:(?:is|where)\(/, 88, ':is(), :where()'],
  [/:not\([^)]*,/, 88, ':not() of a list'],
  [/:has\(/, 105, ':has()'],
  [/(?<![\w-])aspect-ratio\s*:/, 88, 'aspect-ratio'],
  [/(?<![\w-])inset(?:-\w+)*\s*:/, 87, 'inset'],
  [/(?<![\w-])(?:margin|padding|border)-(?:inline|block)\s*:/, 87, 'margin-inline and the like'],
  [/(?<![\w-])(?:translate|rotate|scale)\s*:/, 104, 'translate, rotate, scale'],
  [/(?<![\w-])(?:accent-color|scrollbar-gutter|text-wrap|field-sizing)\s*:/, 93, 'accent-color and the like'],
  [/overflow(?:-[xy])?\s*:\s*clip\b/, 90, 'overflow: clip'],
  [/\bcolor-mix\(|\boklch\(|\blight-dark\(/, 111, 'color-mix(), oklch(), light-dark()'],
  [/\d[sld]v[hw]\b|\d(?:vi|vb|cqw|cqh|lh)\b/, 108, 'dvh, cqw, lh'],
  [/(?<![\w-])text-(?:underline-offset|decoration-thickness)\s*:/, 87, 'text-underline-offset and the like'],
  [/@(?:layer|container|scope|starting-style)\b/, 99, '@layer, @container, @scope'],
  [/^\s*&/m, 112, 'rules inside rules'],
  [/\(\s*(?:width|height)\s*[<>]/, 104, 'ranges in media queries'],
];
const HTML = [
  [/\s(?:inert|popover)\b/, 102, 'inert, popover'],
  [/<script[^>]*importmap/, 89, 'import maps'],
];
const CHINESE = /[\u3400-\u9fff]/;

/** Faults of a file: what Chromium 86 does not know, and words that belong into the texts. */
export function lint(name, source) {
  if (name.endsWith('.js')) return lintScript(name, source);
  const [list, code] = name.endsWith('.css')
    ? [CSS, source.replace(/\/\*[^]*?\*\//g, '')] : [HTML, source];
  return found(list, code);
}

function lintScript(name, source) {
  const { code, strings } = parts(source);
  const faults = found(JS.filter(([, , , where]) => where !== 'top'), code);
  const top = code.split('\n').filter((line) => /^\S/.test(line)).join('\n');
  faults.push(...found(JS.filter(([, , , where]) => where === 'top'), top.replace(/async[^\n]*/g, '')));
  for (const [pattern, what] of name === CLOCK ? [] : TIME) {
    if (pattern.test(code)) faults.push(`${what} is not from ${CLOCK}`);
  }
  for (const text of strings) {
    if (CHINESE.test(text)) faults.push(`text in code: ${text}`);
  }
  // What is put on screen comes from the texts.
  for (const [, text] of source.matchAll(/\bput\([^,\n]+,\s*'([^'\n]*)'/g)) {
    if (/\w{2}/.test(text)) faults.push(`text in code: ${text}`);
  }
  return faults;
}

function found(list, code) {
  return list.filter(([pattern]) => pattern.test(code))
    .map(([, since, what]) => `${what}: since Chromium ${since}`);
}

/** Code without comments and without what is in quotes; and that. */
export function parts(source) {
  const strings = [];
  const code = source.replace(
    /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g,
    (text) => {
      if (text.startsWith('/')) return ' ';
      strings.push(text);
      // What a template computes is code.
      return text.startsWith('`') ? (text.match(/\$\{[^}]*\}/g) || []).join(' ') : "''";
    },
  );
  return { code, strings };
}
