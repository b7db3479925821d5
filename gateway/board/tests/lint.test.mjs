import assert from 'node:assert/strict';
import test from 'node:test';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { lint } from './lint.mjs';

const board = new URL('../', import.meta.url);
const read = (path) => readFileSync(new URL(path, board));

/** Every file that a browser is given. */
function served(folder = '') {
  return readdirSync(new URL(folder || '.', board), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}${entry.name}`;
    if (!entry.isDirectory()) return /\.(js|css|html)$/.test(path) ? [path] : [];
    return path === 'tests' ? [] : served(`${path}/`);
  });
}

test('Chromium 86 knows everything that is used, and no text is in the code', () => {
  const files = served();
  assert.ok(files.includes('js/app.js') && files.includes('app.css') && files.includes('index.html'));
  const faults = files.flatMap((path) => lint(path, read(path).toString())
    .map((fault) => `${path}: ${fault}`));
  assert.deepEqual(faults, []);
});

test('what Chromium 86 has is allowed, such as a screen that is kept awake', () => {
  assert.deepEqual(lint('js/x.js', "navigator.wakeLock.request('screen');"), []);
  assert.equal(lint('js/x.js', 'navigator.userAgentData.mobile;').length, 1);
});

test('what a module imports it uses, and what it is given another gives', () => {
  for (const path of served().filter((name) => name.endsWith('.js'))) {
    const source = read(path).toString();
    const imports = [...source.matchAll(/^import\s+([^;]+?)\s+from\s+'([^']+)';/gm)];
    for (const [whole, names, from] of imports) {
      const given = read(new URL(from, new URL(path, board))).toString();
      const rest = source.replace(whole, '');
      for (const name of names.replace('* as ', '').match(/[\w$]+(?:\s+as\s+[\w$]+)?/g)) {
        const [theirs, own = theirs] = name.split(/\s+as\s+/);
        const word = (text) => `(?<![\\w$])${text.replace('$', '\\$')}(?![\\w$])`;
        assert.ok(new RegExp(word(own)).test(rest), `${path}: ${own} is not used`);
        const gives = new RegExp(`export\\s+(?:async\\s+)?(?:function\\*?|class|const|let)\\s+${word(theirs)}`);
        assert.ok(!whole.includes('{') || gives.test(given), `${path}: ${from} has no ${theirs}`);
      }
    }
  }
});

test('what a module calls of another it imports', () => {
  const modules = served().filter((name) => name.endsWith('.js'));
  const bare = (path) => read(path).toString()
    .replace(/\/\*[^]*?\*\/|\/\/[^\n]*|'[^'\n]*'/g, "''");
  const exported = /^export (?:async )?(?:function\*?|const|class) ([\w$]+)/gm;
  const given = new Set(modules.flatMap((path) => [...bare(path).matchAll(exported)].map(([, name]) => name)));
  for (const path of modules) {
    const source = bare(path);
    const imports = [...source.matchAll(/^import\s+([^;]+?)\s+from/gm)].map(([, names]) => names).join(' ');
    // Its own functions and methods, values, and what it is handed.
    const own = [
      /(?:function\*?|const|let|class) ([\w$]+)/g, /^ {2}(?:async |static )*([\w$]+)\(/gm,
      /[({,]\s*([\w$]+)\s*(?=[,})=])/g,
    ].flatMap((form) => [...source.matchAll(form)]);
    const known = new Set([...imports.match(/[\w$]+/g) ?? [], ...own.map(([, name]) => name)]);
    for (const [, name] of source.matchAll(/(?<![\w$.#])([\w$]+)\(/g)) {
      assert.ok(!given.has(name) || known.has(name), `${path}: ${name} is called, and comes from nowhere`);
    }
  }
});

test('the lint sees what it is for, and nothing in comments and texts', () => {
  const bad = {
    'a.js': [
      'const a = list.at(-1);', 'const a = await fetch(1);', 'class A { static { } }',
      'Object.hasOwn(a, 1);', 'structuredClone(a);', 'crypto.randomUUID();',
      'AbortSignal.timeout(5);', "throw new Error('x', { cause: e });", "put(a, 'Log in');",
      "const a = '高';", 'Date.now();', 'const a = new Date();', 'setTimeout(a, 5);', 'list.toSorted();', 'const a = `${list.at(1)}`;', 'text.match(/a/gd);',
    ],
    'a.css': [
      '.a:is(.b) {}', '.a:has(b) {}', '.a { aspect-ratio: 1; }', '.a { inset: 0; }', '@layer a;',
      '.a:not(.b, .c) {}', '.a { text-underline-offset: 2px; }', '.a { height: 100dvh; }', '.a { & .b { color: red; } }'.replace('{ &', '{\n&'),
    ],
    'a.html': ['<div inert></div>'],
  };
  for (const [name, lines] of Object.entries(bad)) {
    for (const line of lines) assert.equal(lint(name, line).length, 1, line);
  }
  const good = [
    '// list.at(-1)', "const a = 'structuredClone';", 'async function f() {\n  await g();\n}',
    'a ??= 1;', 'a?.b;', 'text.replaceAll(a, b);', 'class A { #m() {} }', 'const at = 1;',
    '/(?<=a)b/u.test(a);', 'await_();',
  ];
  for (const line of good) assert.deepEqual(lint('a.js', line), [], line);
  assert.deepEqual(lint('a.css', '.a { clip-path: inset(50%); } /* :has() */'), []);
});

test('what is vendored for the tests is what its manifest says, with its licence', () => {
  const folder = 'tests/browser/axe/';
  const { sha256, version } = JSON.parse(read(`${folder}manifest.json`));
  const files = readdirSync(new URL(folder, board)).filter((name) => name !== 'manifest.json');
  assert.deepEqual(files.sort(), Object.keys(sha256).sort());
  for (const name of files) {
    const hash = createHash('sha256').update(read(folder + name)).digest('hex');
    assert.equal(hash, sha256[name], name);
  }
  assert.ok(read(`${folder}axe.min.js`).toString().startsWith(`/*! axe v${version}`));
});

/** The twenty checks of chapter 10, as the test of each begins. */
const CHECKS = [
  'colours are not alone', 'contrast', 'flash', 'time to screen', 'order', 'no jump', 'sound gate', 'sound pattern',
  'pause is timed', 'acknowledged is true', 'it needs a person and a reason', 'two nurses', 'latched high', 'stale number',
  'connection lost', 'backfill', 'a filter never hides danger', 'keyboard only', 'phone', 'strip scale',
];
/** It needs a broker: the story `board` has it. */
const AT_BROKER = 4;

test('each of the twenty checks of chapter 10 has its test by number and name', () => {
  const folder = 'tests/browser/';
  const files = readdirSync(new URL(folder, board)).filter((name) => name.endsWith('.test.mjs'));
  const named = files.flatMap((name) => (
    [...read(folder + name).toString().matchAll(/^ *test\(['`](\d+)\. (.+)/gm)].map(([, number, words]) => [Number(number), words])));
  const story = read('../../tests/e2e/board.rs').toString();
  for (const [, number, words] of story.matchAll(/fn check_(\d+)_(\w+)\(/g)) named.push([Number(number), words.replaceAll('_', ' ')]);
  const isOf = (number) => ([of, words]) => of === number && words.startsWith(CHECKS[number - 1]);
  const missing = CHECKS.filter((_, index) => !named.some(isOf(index + 1)));
  assert.deepEqual(missing, []);
  assert.deepEqual(named.filter(([number]) => number === AT_BROKER).map(([, words]) => words), [CHECKS[AT_BROKER - 1]]);
});
