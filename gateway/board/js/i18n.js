// Words of the page in two languages, from `texts/`.

import { keep, kept } from './kept.js';

const LANGUAGES = ['zh-CN', 'en'];
const KEPT = 'board.language';

/** `{n}` is a value, `{n:alert|alerts}` a word for one and for more. */
const PLACE = /\{(\w+)(?::([^|{}]*)\|([^|{}]*))?\}/g;

let texts = {};
let language = 'zh-CN';

/** The text of a key, with `{name}` filled in. */
export function t(key, values = {}) {
  const text = texts[language]?.[key];
  if (text === undefined) return key;
  return filledIn(text, values);
}
t.has = (key) => texts[language]?.[key] !== undefined;

export function currentLanguage() {
  return language;
}

/** A text with its places filled in. */
export function filledIn(text, values) {
  return text.replace(PLACE, (_, name, one, more) => {
    if (more === undefined) return String(values[name] ?? '');
    return Number(values[name]) === 1 ? one : more;
  });
}

/** Loads both languages; the one chosen last is shown. */
export async function loadTexts() {
  const loaded = await Promise.all(LANGUAGES.map(async (name) => {
    const answer = await fetch(`texts/${name}.json`);
    if (!answer.ok) throw new Error(`texts: status ${answer.status}`);
    return [name, await answer.json()];
  }));
  texts = Object.fromEntries(loaded);
  const chosen = kept(KEPT);
  use(LANGUAGES.includes(chosen) ? chosen : 'zh-CN');
}

export function nextLanguage() {
  use(LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length]);
  keep(KEPT, language);
}

function use(name) {
  language = name;
  document.documentElement.lang = name;
}

/** One of two names, by language. */
export function either(zh, en) {
  return language === 'zh-CN' ? zh || en : en || zh;
}
