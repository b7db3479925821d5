// The page of the box: what is wrong, where, since when; what still works; acknowledging while the
// county is out of reach. Asks the agent every two seconds and draws every second.

const ASK_MS = 2_000;
const ANSWER_MS = 5_000;
/** After this without an answer everything on the page is called old. */
const OLD_MS = 10_000;
const KEPT_LANGUAGE = 'clinic.language';
const KEPT_PERSON = 'clinic.person';
const LANGUAGES = ['zh-CN', 'en'];
const REASONS = [
  'at_bedside', 'doctor_called', 'rechecking', 'probe_loose', 'false_alarm', 'referred',
];
const GLYPHS = { high: '▲!!!', medium: '■!!', low: '●!' };
/** Upper ends of "fresh" and "ageing" in milliseconds, as on the nurses' board. */
const LIMITS = { stream: [5e3, 15e3], pump: [30e3, 90e3], spot: [30 * 60e3, 4 * 3600e3] };
/** Less than an hour: something is given up already, or will be soon. */
const FULL_S = 3600;
const HATCHED_MS = 60e3;
/** Kinds of devices that are there when they are used, and say nothing in between. */
const VISITORS = ['cuff', 'glucose_meter', 'thermometer', 'scale'];
const UNITS = { 'mm[Hg]': 'mmHg', Cel: '°C', 'ug/kg/min': 'µg/kg/min', 'kg/m2': 'kg/m²', 1: '' };

let texts = {};
let language = LANGUAGES[0];
/** The newest answer, and when it came by the page's own steady clock. */
let state = null;
let answeredMs = 0;
let openId = null;
let sending = false;
let said = null;
const rows = new Map();
const tiles = new Map();

// --- words ---------------------------------------------------------------------------------------

function t(key, values) {
  const text = (texts[language] || {})[key];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (_, name) => (values && name in values ? values[name] : ''));
}

function has(key) {
  return (texts[language] || {})[key] !== undefined;
}

/** A word of an enumeration; as sent where nobody translated it. */
function wordOf(prefix, value) {
  const key = `${prefix}.${value}`;
  return has(key) ? t(key) : String(value || '');
}

function either(zh, en) {
  return language === 'zh-CN' ? zh || en : en || zh;
}

function ageText(ms, coarse) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return t('age.s', { s: seconds });
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10 && !coarse) return t('age.ms', { m: minutes, s: seconds % 60 });
  if (minutes < 60) return t('age.m', { m: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return t('age.hm', { h: hours, m: minutes % 60 });
  return t('age.d', { d: Math.floor(hours / 24) });
}

/** `2026-11-22 09:30:05` in the time zone of the clinic. */
function dateTime(ms) {
  return new Date(ms + state.offset_s * 1000).toISOString().slice(0, 19).replace('T', ' ');
}

/** `09:30` today, else with its date. */
function shortTime(ms) {
  const text = dateTime(ms).slice(0, 16);
  return text.slice(0, 10) === dateTime(nowMs()).slice(0, 10) ? text.slice(11) : text;
}

function unitText(unit) {
  if (!unit) return '';
  if (has(`unit.${unit}`)) return t(`unit.${unit}`);
  return unit in UNITS ? UNITS[unit] : unit;
}

// --- time ----------------------------------------------------------------------------------------

/** How long ago the box answered last. */
function sinceAnswer() {
  return performance.now() - answeredMs;
}

/** The box's clock. */
function nowMs() {
  return Date.parse(state.now) + sinceAnswer();
}

function isOld() {
  return state === null || sinceAnswer() > OLD_MS;
}

// --- elements: text only, never HTML ---------------------------------------------------------------

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  element.append(...children);
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes these the children, moving no more than has to be. */
function arrange(parent, children) {
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] || null);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
}

const span = (name) => h('span', { class: name });

// --- values --------------------------------------------------------------------------------------

function ruleOf(value) {
  const kind = state.kinds[value.device];
  if (kind === 'pump') return 'pump';
  if (value.kind === 'spot' || VISITORS.includes(kind)) return 'spot';
  return 'stream';
}

/** A value as it may be on screen now: what is stale has no number. */
function judged(value) {
  const rule = ruleOf(value);
  const ageMs = value.age_ms + sinceAnswer();
  const [fresh, ageing] = LIMITS[rule];
  let stale = 'stale';
  if (ageMs <= fresh) stale = 'fresh';
  else if (ageMs <= ageing) stale = 'ageing';
  const hidden = (rule !== 'spot' && stale === 'stale') || isOld();
  const reason = value.no_data ? wordOf('no_data', value.no_data.split(':')[0]) : '';
  const age = ageText(ageMs, rule === 'spot');
  const words = [hidden ? t('age.hidden', { age }) : t('age.ago', { age })];
  if (value.suspect) words.push(t('age.suspect'));
  if (!hidden && value.validity !== 'valid') words.push(wordOf('validity', value.validity));
  return {
    rule, ageMs, stale: isOld() ? 'stale' : stale, hidden, reason: hidden ? '' : reason,
    text: hidden || value.value === null ? null : wordOf(`value.${value.metric}`, value.value),
    unit: unitText(value.unit),
    age: words.join(' · '),
  };
}

// --- top -----------------------------------------------------------------------------------------

const title = h('h1');
const time = h('span', { class: 'time' });
const languageButton = h('button', { class: 'language', onclick: nextLanguage });
const old = h('div', { class: 'banner stopped', role: 'alert', hidden: true });
const reach = h('div', { class: 'banner reach', role: 'status' });

function drawTop() {
  put(title, state ? `${state.facts.site} · ${t('title')}` : t('title'));
  put(time, state && !isOld() ? dateTime(nowMs()).slice(11) : '');
  put(languageButton, t('language.other'));
  document.title = t('title');
  set(old, 'hidden', !isOld());
  if (isOld()) put(old, state ? t('page.old', { age: ageText(sinceAnswer()) }) : t('page.loading'));
  set(document.body, 'data-page', isOld() ? 'old' : 'live');
  set(reach, 'hidden', isOld());
  if (isOld()) return;
  const { signals, out_of_reach_since: since } = state.facts.alerts;
  const link = { true: 'lost', false: isOnline() ? 'good' : 'doubt' }[signals];
  set(reach, 'data-link', link);
  const at = since ? Date.parse(since) : nowMs();
  put(reach, link === 'lost'
    ? t('reach.lost', { at: shortTime(at), age: ageText(nowMs() - at) }) : t(`reach.${link}`));
}

/** Whether a connection is up; that it fails counts only after some seconds. */
function isOnline() {
  return state.facts.uplink.state === 'online';
}

// --- alerts --------------------------------------------------------------------------------------

const alertsHeading = h('h2');
const list = h('ol', { class: 'alerts' });
const none = h('p', { class: 'empty' });
const loud = h('div', { class: 'unseen', role: 'alert' });
let announced = '';

/** Unacknowledged high, medium, unknown, acknowledged, low; what holds first, then the oldest. */
function classOf({ state: standing, priority }) {
  if (standing === 'unknown') return 2;
  if (priority === 'low') return 4;
  if (standing === 'active_ack') return 3;
  return priority === 'high' ? 0 : 1;
}

function drawAlerts() {
  const alerts = state ? [...state.facts.alerts.open] : [];
  const over = ({ state: standing }) => Number(standing === 'cleared_unack');
  alerts.sort((a, b) => classOf(a) - classOf(b) || over(a) - over(b)
    || Date.parse(a.started_at) - Date.parse(b.started_at) || (a.id < b.id ? -1 : 1));
  if (!alerts.some((alert) => alert.id === openId)) openId = null;
  const known = state && !state.facts.alerts.failing && !isOld();
  put(alertsHeading, t('alerts.heading', { n: state ? alerts.length : '?' }));
  const others = t(alerts.length ? 'alerts.unknown_others' : 'alerts.unknown');
  const quiet = alerts.length ? '' : t('alerts.none');
  put(none, known ? quiet : others);
  arrange(list, alerts.map((alert) => row(alert)));
  const ids = alerts.map((alert) => alert.id);
  for (const id of [...rows.keys()]) if (!ids.includes(id)) rows.delete(id);
  const words = alerts.filter((alert) => alert.signals && alert.priority === 'high')
    .map((alert) => `${either(alert.message_zh, alert.message_en)} ${alert.device}`).join('; ');
  if (words !== announced) put(loud, words);
  announced = words;
}

function newRow(id) {
  const parts = {};
  for (const name of ['glyph', 'word', 'message', 'metric', 'number', 'unit', 'age', 'outside',
    'limit', 'where', 'state', 'since', 'owner']) parts[name] = span(name);
  parts.button = h('button', { class: 'ack', onclick: () => open(openId === id ? null : id) });
  parts.slot = h('div');
  parts.element = h('li', { class: 'alert', 'data-alert-id': id },
    h('div', { class: 'priority' }, parts.glyph, parts.word),
    h('div', { class: 'body' },
      h('div', { class: 'line' }, parts.message),
      h('div', { class: 'line' }, parts.metric, parts.number, parts.unit, parts.age, parts.outside,
        parts.limit),
      h('div', { class: 'line small' }, parts.where),
      h('div', { class: 'line small' }, parts.state, parts.since, parts.owner)),
    parts.button);
  return parts;
}

function row(alert) {
  if (!rows.has(alert.id)) rows.set(alert.id, newRow(alert.id));
  const parts = rows.get(alert.id);
  const kind = state.kinds[alert.device];
  const started = Date.parse(alert.started_at);
  for (const [name, value] of Object.entries({
    'data-priority': alert.priority, 'data-state': alert.state, 'data-device': alert.device,
    'data-signals': alert.signals && !isOld() ? 'true' : null,
  })) set(parts.element, name, value);
  put(parts.glyph, alert.state === 'unknown' ? '?' : GLYPHS[alert.priority] || 'ⓘ');
  put(parts.word, t(`priority.${alert.priority}`));
  put(parts.message, either(alert.message_zh, alert.message_en) || alert.family);
  drawValue(alert, parts);
  const isOfBox = alert.device === state.facts.site;
  put(parts.where, isOfBox ? t('alerts.of_box') : [
    kind ? `${wordOf('kind', kind)} ${alert.device}` : alert.device,
    whose(alert),
  ].join(' · '));
  const words = [wordOf('state', alert.state)];
  if (alert.recurrences) words.push(t('alerts.recurred', { n: alert.recurrences }));
  put(parts.state, words.join(' · '));
  const over = alert.state === 'cleared_unack' && alert.cleared_at;
  put(parts.since, over
    ? t('alerts.over', { at: shortTime(started), until: shortTime(Date.parse(alert.cleared_at)) })
    : t('alerts.since', { at: shortTime(started), age: ageText(nowMs() - started) }));
  const nobody = isOfBox ? '' : t('alerts.no_owner');
  put(parts.owner, alert.acknowledged_by ? t('alerts.owner', {
    by: alert.acknowledged_by, reason: wordOf('reason', alert.reason),
    at: shortTime(Date.parse(alert.acknowledged_at)),
  }) : nobody);
  const possible = isOpen(alert) && state.facts.alerts.signals && !isOfBox;
  set(parts.button, 'hidden', !possible);
  set(parts.button, 'disabled', isOld());
  set(parts.button, 'aria-expanded', String(openId === alert.id));
  put(parts.button, t(openId === alert.id ? 'ack.close' : 'ack.button'));
  if (openId === alert.id && possible) {
    if (panel.parentElement !== parts.element) parts.element.append(panel);
    drawPanel();
  } else if (panel.parentElement === parts.element) panel.remove();
  return parts.element;
}

/** At which bed; a key says nothing to whoever stands here, and the box has no name. */
function whose({ patient, bed }) {
  if (bed) return t('patient.bed', { bed });
  return t(patient ? 'patient.no_bed' : 'patient.none');
}

/** Whether nobody has it in hand. */
function isOpen(alert) {
  return ['active_unack', 'cleared_unack'].includes(alert.state)
    || (alert.state === 'unknown' && !alert.acknowledged_by);
}

/** What is measured now, with its age; and the number that raised it, called so. */
function drawValue(alert, parts) {
  const outside = alert.value ? [alert.comparator, alert.value].filter(Boolean).join(' ') : '';
  const own = state.newest.filter((value) => value.device === alert.device
    && value.metric === alert.metric);
  const gone = ['cleared_unack', 'unknown', 'closed'].includes(alert.state);
  const value = own.length === 1 && !gone ? own[0] : null;
  const now = value && judged(value);
  const text = now && now.text !== null ? now.text : null;
  put(parts.metric, value ? `${either(value.name_zh, value.name_en)} ${text ? t('alerts.now') : ''}`
    : '');
  put(parts.number, value ? text || '--' : '');
  set(parts.number, 'data-metric', alert.metric);
  set(parts.number, 'data-stale', now ? now.stale : null);
  put(parts.unit, text ? now.unit : '');
  put(parts.age, now ? [now.reason, now.age].filter(Boolean).join(' · ') : '');
  put(parts.outside, outside && outside !== text
    ? t('alerts.outside', { value: `${outside} ${unitText(alert.unit)}`.trim() }) : '');
  put(parts.limit, alert.limit ? t('alerts.limit', { limit: alert.limit }) : '');
}

// --- acknowledging -------------------------------------------------------------------------------

const explain = h('p', { class: 'explain' });
const who = h('select', { class: 'person', onchange: () => keep(KEPT_PERSON, who.value) });
const whoLabel = span('label');
const pin = h('input', {
  class: 'pin', type: 'password', inputmode: 'numeric', autocomplete: 'off', maxlength: 64,
});
const pinLabel = span('label');
const pinField = h('label', {}, pinLabel, pin);
const note = h('input', { class: 'note', maxlength: 500 });
const noteLabel = span('label');
const whyLabel = h('p');
const reasons = REASONS.map((reason) => h('button', {
  class: 'reason', 'data-reason': reason, onclick: () => acknowledge(reason),
}));
const problem = h('p', { class: 'problem', role: 'status' });
const form = h('div', { class: 'form' },
  h('label', {}, whoLabel, who), pinField, h('label', {}, noteLabel, note), whyLabel,
  h('div', { class: 'reasons' }, ...reasons));
const panel = h('div', { class: 'panel', role: 'group' }, explain, form, problem);

function open(id) {
  openId = id;
  said = null;
  draw();
}

function drawPanel() {
  const { people, pin: asked } = state;
  const blocked = (!people.length && 'ack.nobody') || (asked === 'missing' && 'ack.no_pin');
  put(explain, blocked ? t(blocked) : t('ack.explain'));
  set(form, 'hidden', Boolean(blocked));
  drawPeople(people);
  put(whoLabel, t('ack.who'));
  put(pinLabel, t('ack.pin'));
  set(pinField, 'hidden', asked !== 'asked');
  put(noteLabel, t('ack.note'));
  put(whyLabel, t('ack.why'));
  reasons.forEach((button, index) => {
    put(button, t(`reason.${REASONS[index]}`));
    set(button, 'disabled', sending || isOld());
  });
  if (sending) put(problem, t('ack.sending'));
  else put(problem, said ? said() : '');
}

function drawPeople(people) {
  const wanted = ['', ...people];
  const shown = [...who.options].map((option) => option.value);
  if (wanted.join('\n') !== shown.join('\n')) {
    who.replaceChildren(...wanted.map((name) => h('option', { value: name }, name)));
    who.value = people.includes(kept(KEPT_PERSON)) ? kept(KEPT_PERSON) : '';
  }
  put(who.options[0], t('ack.choose_person'));
}

/** The row changes when the agent says so and not before. */
async function acknowledge(reason) {
  if (sending || openId === null) return;
  if (!who.value) {
    said = () => t('problem.person_unknown');
    draw();
    return;
  }
  sending = true;
  said = null;
  draw();
  try {
    const answer = await ask('acknowledge', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        id: openId, by: who.value, pin: pin.value, reason, note: note.value.trim(),
      }),
    });
    const body = await answer.json();
    if (answer.ok) {
      openId = null;
      note.value = '';
      pin.value = '';
    } else {
      const key = `problem.${body.problem}`;
      said = () => (has(key) ? t(key, { by: body.by || '' }) : t('problem.other'));
    }
  } catch (failure) {
    said = () => t('problem.other');
  }
  sending = false;
  await refresh();
}

// --- what still works ------------------------------------------------------------------------------

const worksHeading = h('h2');
const works = h('ul', { class: 'works' });

function drawWorks() {
  put(worksHeading, t('works.heading'));
  arrange(works, worksLines().map(([name, good, text, more], index) => {
    const line = works.children[index] || h('li', {}, span('mark'), span('text'), span('more'));
    set(line, 'data-name', name);
    set(line, 'data-works', isOld() ? 'unknown' : { true: 'yes', false: 'no' }[good] || 'unknown');
    const marks = { true: '✓', false: '✗' };
    put(line.children[0], isOld() ? '?' : marks[good] || '–');
    put(line.children[1], text);
    put(line.children[2], more || '');
    return line;
  }));
}

/** Name, whether it works (`null`: nobody knows, or it does not matter), what to say. */
function worksLines() {
  if (!state) return [];
  const {
    outbox, alerts, uplink, clock, devices,
  } = state.facts;
  const all = Object.values(devices);
  const count = (standing) => all.filter((device) => device.state === standing).length;
  const [online, waiting] = [count('online'), count('waiting')];
  const down = all.length - online - waiting;
  const hours = Math.floor(outbox.holds_s / 3600);
  const holds = outbox.holds_s === null ? t('works.holds_unknown')
    : t('works.holds', { d: Math.floor(hours / 24), h: hours % 24 });
  const english = language === 'en';
  const isFull = outbox.holds_s !== null && outbox.holds_s < FULL_S;
  const saved = outbox.failing ? ['saved', false, t('works.not_saved'), english ? outbox.failing : '']
    : ['saved', !outbox.disk && !isFull, t(isFull ? 'works.full' : 'works.saved', { holds }),
      outbox.disk ? t('works.disk', { what: english ? outbox.disk : '' }) : ''];
  return [
    // One that waits may be a cuff that nobody uses, or a monitor that is off.
    ['devices', down === 0 && (waiting === 0 || null),
      t('works.devices', { online, waiting, all: all.length })],
    saved,
    alerts.failing ? ['rules', false, t('works.no_rules'), english ? alerts.failing : '']
      : ['rules', true, t('works.rules', { version: alerts.rules })],
    hookLine(alerts, english),
    countyLine(alerts, uplink, outbox, english),
    ['clock', { synchronised: true }[clock.quality] || null, t({
      synchronised: 'works.clock', holding_over: 'works.clock_held',
    }[clock.quality] || 'works.clock_unknown')],
  ];
}

function hookLine(alerts, english) {
  if (!state.has_hook) return ['hook', null, t('works.no_hook')];
  if (alerts.hook_failing) {
    return ['hook', false, t('works.hook_failed'), english ? alerts.hook_failing : ''];
  }
  return alerts.hook_calls ? ['hook', true, t('works.hook')] : ['hook', null, t('works.hook_ready')];
}

function countyLine(alerts, uplink, outbox, english) {
  const waiting = Object.values(outbox.unacked).reduce((a, b) => a + b, 0);
  const acked = uplink.last_ack_ms;
  const more = [
    acked ? t('works.last_ack', { at: shortTime(acked), age: ageText(nowMs() - acked) }) : '',
    waiting && alerts.signals ? t('works.waiting', { n: waiting }) : '',
    english && uplink.state !== 'online' ? uplink.state : '',
  ].filter(Boolean).join(' · ');
  if (alerts.signals) return ['county', false, t('works.county_lost'), more];
  return isOnline() ? ['county', true, t('works.county'), more]
    : ['county', null, t('works.county_doubt'), more];
}

// --- devices -------------------------------------------------------------------------------------

const devicesHeading = h('h2');
const grid = h('div', { class: 'tiles' });
const noDevices = h('p', { class: 'empty' });

function drawDevices() {
  const facts = state ? state.facts.devices : {};
  // A pump behind a station has values and no line of its own in the configuration.
  const names = new Set(Object.keys(facts));
  if (state) state.newest.forEach((value) => names.add(value.device));
  const sorted = [...names].sort();
  put(devicesHeading, t('devices.heading', { n: sorted.length }));
  put(noDevices, sorted.length ? '' : t('devices.none'));
  arrange(grid, sorted.map((name) => tile(name, facts[name])));
  for (const name of [...tiles.keys()]) if (!names.has(name)) tiles.delete(name);
}

function tile(name, facts) {
  if (!tiles.has(name)) {
    const parts = {
      kind: h('h3'), device: span('device'), state: span('state'), why: h('p', { class: 'why' }),
      cells: h('div', { class: 'cells' }),
    };
    parts.element = h('article', { class: 'tile', 'data-device': name },
      h('header', {}, parts.kind, parts.device, parts.state), parts.why, parts.cells);
    tiles.set(name, parts);
  }
  const parts = tiles.get(name);
  const values = state.newest.filter((value) => value.device === name);
  const shown = values.map((value) => [value, judged(value)]);
  const standing = facts ? facts.state : 'online';
  const repeating = shown.filter(([, part]) => part.rule !== 'spot').map(([, part]) => part.ageMs);
  const quiet = repeating.length > 0 && Math.min(...repeating) > HATCHED_MS;
  const gone = !['online', 'waiting'].includes(standing);
  set(parts.element, 'data-device-state', isOld() ? 'unknown' : standing);
  set(parts.element, 'data-hatched', quiet || gone || isOld() ? 'true' : null);
  put(parts.kind, wordOf('kind', state.kinds[name] || (facts ? facts.driver : '')));
  put(parts.device, name);
  put(parts.state, isOld() ? '?' : wordOf('device_state', standing));
  put(parts.why, why(standing, facts, values));
  arrange(parts.cells, shown.map(([value, part], index) => {
    const cell = parts.cells.children[index]
      || h('div', { class: 'cell' }, span('label'), h('span', { class: 'amount' }, span('number'),
        span('unit')), span('age'));
    set(cell, 'data-metric', value.metric);
    set(cell, 'data-stale', part.stale);
    const channel = value.channel ? ` ${value.channel.toUpperCase()}` : '';
    put(cell.children[0], either(value.name_zh, value.name_en) + channel);
    put(cell.children[1].children[0], part.text !== null ? part.text : part.reason || '--');
    put(cell.children[1].children[1], part.text !== null ? part.unit : '');
    put(cell.children[2], part.age);
    return cell;
  }));
  return parts.element;
}

function why(standing, facts, values) {
  if (has(`devices.do.${standing}`)) {
    // The agent's own sentence is English.
    const own = language === 'en' && facts ? facts.reason : '';
    return [t(`devices.do.${standing}`), own].filter(Boolean).join(' · ');
  }
  return values.length ? '' : t('devices.nothing_yet');
}

// --- together ------------------------------------------------------------------------------------

const footer = h('footer');

function draw() {
  drawTop();
  drawAlerts();
  drawWorks();
  drawDevices();
  put(footer, t('footer'));
}

function kept(key) {
  try {
    return localStorage.getItem(key);
  } catch (failure) {
    return null; // A browser that keeps nothing.
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch (failure) {
    // It is chosen again next time.
  }
}

function use(name) {
  language = LANGUAGES.includes(name) ? name : LANGUAGES[0];
  document.documentElement.lang = language;
}

function nextLanguage() {
  use(LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length]);
  keep(KEPT_LANGUAGE, language);
  draw();
}

/** An answer within a time, or none. */
async function ask(path, options) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), ANSWER_MS);
  try {
    return await fetch(path, { cache: 'no-store', signal: patience.signal, ...options });
  } finally {
    clearTimeout(timer);
  }
}

async function refresh() {
  try {
    const asked = performance.now();
    const answer = await ask('state.json');
    if (answer.ok) {
      const body = await answer.json();
      // What was under way is that much older.
      [state, answeredMs] = [body, asked];
    }
  } catch (failure) {
    // The banner says how long it has been.
  }
  draw();
}

async function poll() {
  await refresh();
  setTimeout(poll, ASK_MS);
}

async function main() {
  const day = window.matchMedia('(prefers-color-scheme: light)').matches;
  document.documentElement.dataset.theme = day ? 'day' : 'night';
  const loaded = await Promise.all(LANGUAGES.map(async (name) => {
    const answer = await fetch(`${name}.json`);
    return [name, await answer.json()];
  }));
  texts = Object.fromEntries(loaded);
  use(kept(KEPT_LANGUAGE));
  document.getElementById('app').replaceChildren(
    h('div', { class: 'top' }, h('div', { class: 'topbar' }, title, time, languageButton), old,
      reach),
    h('main', {},
      h('section', { class: 'alert-list' }, alertsHeading, list, none, loud),
      h('section', { class: 'works-list' }, worksHeading, works),
      h('section', { class: 'devices' }, devicesHeading, grid, noDevices)),
    footer,
  );
  draw();
  setInterval(draw, 1000);
  poll();
}

main();
