// A county that says what the test says: the board's files, the API and its events, on one clock.

import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as make from './fixtures.mjs';
import { answerFaults, faults, schemaOf } from './schema.mjs';

const BOARD = fileURLToPath(new URL('../..', import.meta.url));
const KINDS = {
  '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml',
  '.json': 'application/json',
};
/** What the events carry, by their names. */
const EVENTS = { alert: 'Alert', site: 'Site' };
const REASONS = schemaOf('Acknowledge').properties.reason.enum;
const DAY_MS = 24 * 3_600_000;
const SESSION_MS = 12 * 3_600_000;
/** 2026-11-26 09:30 where the clinics are. */
const BEGIN = Date.parse('2026-11-26T01:30:00Z');

/** What one must be allowed to do to ask for it, as the table of the API's README says. */
const SEEN_BY = {
  '/sites': 'see_sites',
  '/devices': 'see_readings',
  '/patients': 'see_readings',
  '/bindings': 'see_readings',
  '/tray': 'see_readings',
  '/followup': 'see_readings',
  '/duty': 'see_alerts',
  '/figures': 'see_alerts',
  '/boards': 'see_alerts',
  '/rules': 'preview_rules',
  '/ledger': 'read_ledger',
  '/people': 'see_people',
  '/tokens': 'see_people',
  '/audit': 'read_audit',
  '/audit/head': 'read_audit',
};

export class County {
  static async start() {
    const county = new County();
    await new Promise((done) => {
      county.server.listen(0, '127.0.0.1', done);
    });
    county.url = `http://127.0.0.1:${county.server.address().port}/`;
    return county;
  }

  constructor() {
    this.pages = new Set();
    this.faults = [];
    this.sockets = new Set();
    this.sessions = new Map();
    this.clear();
    this.server = createServer((request, response) => {
      this.serve(request, response).catch((error) => {
        this.faults.push(String(error.stack));
        response.destroy();
      });
    });
    this.server.on('connection', (socket) => {
      if (this.down) socket.destroy();
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  /** Two clinics, a monitor and an oximeter, nothing wrong. */
  clear() {
    this.ms = BEGIN;
    this.down = false;
    this.asked = [];
    this.streams = [];
    this.script = [];
    this.flood = null;
    this.offers = [];
    this.truncated = false;
    /** Of everybody; whoever has no PIN gives the password. */
    this.password = 'right';
    this.pin = '2580';
    /** Nobody has done anything for ten minutes: the county asks whether it is still they. */
    this.idle = false;
    this.generation = '000000000000000a';
    /** When every session ends. */
    this.endsMs = this.ms + SESSION_MS;
    this.duty = [];
    this.people = { li: 'nurse', wang: 'nurse', zhao: 'doctor' };
    this.sites = [make.HEPING, make.DONGFENG].map((place) => make.site(place, this.ms));
    this.monitor = make.device(make.HEPING, 'heping-monitor-01', 'monitor', this.ms);
    this.oximeter = make.device(make.DONGFENG, 'dongfeng-spo2-01', 'oximeter', this.ms);
    this.devices = [this.monitor, this.oximeter];
    this.alerts = new Map();
    this.patients = [];
    this.bindings = [];
    /** Bindings that are over. */
    this.ended = [];
    this.beds = [];
    this.ruled = make.RULED;
    /** Of whoever is asked for. */
    this.series = [];
    this.results = [];
    this.blocks = [];
    this.limits = [];
    this.entries = [];
    this.news2 = null;
    // What pages ask for, by its path; what is done, by method and path.
    this.more = {};
    this.took = {};
    this.pending = null;
    this.pendingPassword = null;
    /** Who may be handed an alert; else everybody. */
    this.able = null;
    /** Of which program it is. */
    this.board = 'one';
    /** The other boards; what boards said of their sound. */
    this.boards = { boards: [], clinics_without_sound: [] };
    this.sounds = [];
  }

  /** A session of somebody; the secret goes into the cookie. */
  session(name) {
    const secret = `${name}-${this.sessions.size}`;
    this.sessions.set(secret, name);
    return secret;
  }

  /** What is answered instead: `{ method, path, once, hold, status, body }`. */
  answer(rule) {
    this.script.push(rule);
    return rule;
  }

  /** Answers of that kind wait until the function that is returned is called. */
  hold(method, path) {
    let release;
    const until = new Promise((done) => {
      release = done;
    });
    this.answer({ method, path, once: true, hold: until });
    return release;
  }

  /** What is done is done and told to all at once; its answer waits until the function is called. */
  late(method, path) {
    let release;
    const late = new Promise((done) => {
      release = done;
    });
    this.answer({ method, path, once: true, late });
    return release;
  }

  async serve(request, response) {
    response.setHeader('Date', new Date(this.ms).toUTCString());
    const { method, url } = request;
    if (!url.startsWith('/api/')) {
      this.file(url, response);
      return;
    }
    let text = '';
    for await (const part of request) text += part;
    // A rule set is taken as it is written.
    const body = url.startsWith('/api/v1/rules?') ? text : JSON.parse(text || '{}');
    this.asked.push({ method, url, body });
    const secret = /clinic_session=([^;]*)/.exec(request.headers.cookie ?? '')?.[1];
    const place = this.script.findIndex((rule) => (
      rule.method === method && url.includes(rule.path)));
    const rule = this.script[place];
    if (rule?.once) this.script.splice(place, 1);
    if (rule?.hold) await rule.hold;
    const user = this.sessions.get(secret);
    if (rule?.status) this.tell(request, response, [rule.status, rule.body]);
    else if (method === 'POST' && url === '/api/v1/session') this.logIn(request, response, body);
    else if (!user) this.tell(request, response, problem(401, 'Nobody is logged in'));
    else if (url.startsWith('/api/v1/events')) this.follow(secret, url, response);
    else {
      const said = this.said(method, url.slice('/api/v1'.length), body, user, secret);
      if (rule?.late) await rule.late;
      this.tell(request, response, said);
    }
  }

  file(url, response) {
    const path = normalize(join(BOARD, url === '/' ? 'index.html' : url.split('?')[0]));
    if (!path.startsWith(BOARD) || path.includes('/tests/') || !existsSync(path)) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader('Content-Type', KINDS[extname(path)] ?? 'application/octet-stream');
    if (url === '/') {
      const mark = `name="board" content="${this.board}"`;
      response.end(readFileSync(path, 'utf8').replace('name="board" content=""', mark));
    } else createReadStream(path).pipe(response);
  }

  /** Sends an answer; one that the real county would never give is a fault of the test. */
  tell({ method, url }, response, [status, body]) {
    const wrong = answerFaults(method, url, status, body);
    if (wrong.length) this.faults.push(`${method} ${url} ${status}: ${wrong.join('; ')}`);
    response.setHeader('Content-Type', 'application/json');
    response.writeHead(status).end(body === null ? '' : JSON.stringify(body));
  }

  logIn(request, response, { name, password }) {
    if (!this.people[name] || password !== this.password) {
      this.tell(request, response, problem(401, 'Name or password is wrong'));
      return;
    }
    const secret = this.session(name);
    this.endsMs = this.ms + SESSION_MS;
    response.setHeader('Set-Cookie', `clinic_session=${secret}; Path=/; HttpOnly; SameSite=Strict`);
    for (const page of this.pages) if (!page.secret) page.secret = secret;
    this.tell(request, response, [200, this.user(name)]);
  }

  user(name) {
    return {
      name,
      role: this.people[name],
      clinics: null,
      may: make.MAY[this.people[name]],
      must_set_password: false,
      has_pin: this.pin !== null,
      confirmed_until: make.at(this.ms + 600_000),
      ends_at: make.at(this.endsMs),
    };
  }

  said(method, path, body, user, secret) {
    const [plain, asked = ''] = path.split('?');
    const closed = asked.includes('state=closed');
    const lists = {
      '/session': () => this.user(user),
      '/metrics-catalogue': () => ({ metrics: make.catalogue }),
      '/sites': () => ({
        sites: this.sites, broker: { up: true }, disk: { state: 'good', free_mib: 9000 }, sinks: [],
      }),
      '/devices': () => ({ devices: this.devices }),
      '/alerts': () => ({
        alerts: [...this.alerts.values()].filter(({ state, started_at: at }) => (
          (state === 'closed') === closed && at >= (new URLSearchParams(asked).get('from') ?? ''))),
        flood: this.flood,
        offers: this.offers,
        truncated: this.truncated,
      }),
      '/patients': () => ({
        patients: this.patients, beds: this.beds, ruled_without_patient: this.ruled,
      }),
      '/bindings': () => this.bound(new URLSearchParams(asked)),
      '/boards': () => this.boards,
      '/duty': () => ({ plans: this.duty }),
      '/readings': () => ({ readings: [], next_cursor: null }),
      '/waveforms': () => {
        const metric = new URLSearchParams(asked).get('metric');
        return { blocks: this.blocks.filter((one) => one.metric === metric), next_cursor: null };
      },
      '/trends': () => this.trend(new URLSearchParams(asked)),
      ...this.more,
    };
    const needed = SEEN_BY[plain];
    if (method === 'GET' && needed && !make.MAY[this.people[user]].includes(needed)) {
      return problem(403, `Only for who may ${needed}`);
    }
    if (method === 'GET' && lists[plain]) return [200, lists[plain]()];
    if (method === 'POST' && plain === '/session/confirm') {
      const fits = 'pin' in body ? this.pin !== null && body.pin === this.pin
        : body.password === this.password;
      if (!fits) return problem(403, 'Wrong');
      this.idle = false;
      return [200, this.user(user)];
    }
    if (method === 'POST' && ['/session/pin', '/session/password'].includes(plain)) {
      if ((body.password ?? body.old) !== this.password) return problem(403, 'Wrong');
      if (plain === '/session/pin') this.pin = body.pin;
      else this.password = body.new;
      return [204, null];
    }
    if (this.took[`${method} ${plain}`]) return this.took[`${method} ${plain}`](body, user);
    if (method === 'DELETE' && plain === '/session') {
      this.sessions.delete(secret);
      return [204, null];
    }
    // None is under way and none was.
    if (plain === '/rules/preview') return problem(404, 'No preview');
    if (plain.startsWith('/boards/')) {
      if (method === 'POST') this.sounds.push(body);
      return [204, null];
    }
    if (method === 'GET' && /^\/patients\/[^/]+\/limits$/.test(plain)) {
      return [200, { limits: this.limits }];
    }
    if (plain.startsWith('/patients/') && method === 'PATCH') {
      const { version, ...fields } = body;
      const key = plain.split('/')[2];
      this.patients = this.patients.map((one) => (
        one.patient === key ? { ...one, ...fields, version: version + 1 } : one));
      return [200, without(this.patients.find(({ patient }) => patient === key), 'ruled')];
    }
    if (plain.endsWith('/after-meal')) {
      const isIt = (one) => plain.startsWith(`/readings/${one.outbox}/${one.lane}/${one.seq}/`);
      const result = this.results.find(({ readings }) => readings.some(isIt));
      result.two_hours = body.two_hours ? { by: user, at: make.at(this.ms) } : null;
      return [200, wholeResult(result)];
    }
    if (plain.startsWith('/patients/') && method === 'GET') return this.whole(plain.split('/')[2]);
    if (plain.endsWith('/reassign')) return this.reassign(plain.split('/'), body, user);
    const [, id, deed] = /^\/alerts\/([0-9a-f]+)\/?(.*)$/.exec(plain) ?? [];
    const alert = this.alerts.get(id);
    if (!alert) return problem(404, 'There is none');
    if (deed === 'people') {
      const all = Object.entries(this.people);
      const people = all.map(([name, role]) => ({ name, role, on_duty: null }));
      return [200, { people: this.able ?? people }];
    }
    if (method === 'GET') return [200, alert];
    if (this.idle) return problem(403, 'Say that it is still you', { confirm: true });
    const board = new URLSearchParams(asked).get('board');
    return this.act(alert, `${method === 'DELETE' ? 'no-' : ''}${deed}`, { ...body, board }, user);
  }

  trend(asked) {
    return {
      from: asked.get('from'),
      to: asked.get('to'),
      step_s: Number(asked.get('step')),
      series: this.series.filter(({ device }) => [null, device].includes(asked.get('device'))),
      results: this.results.filter(isWithin(asked)).map(wholeResult),
    };
  }

  whole(key) {
    const patient = this.patients.find((one) => one.patient === key);
    if (!patient) return problem(404, 'There is none');
    return [200, {
      ...patient,
      bindings: this.bindings.filter((one) => one.patient === key),
      limits: this.limits,
      limits_in_force: make.LIMITS,
      entries: this.entries,
      news2: this.news2,
    }];
  }

  /** A result is somebody else's from now on. */
  reassign([, , outbox, lane, seq, index], { patient, from, reason }, by) {
    const isIt = (one) => [one.outbox, one.lane, one.seq, one.index].join()
      === [outbox, lane, seq, index].join();
    const result = this.results.find(({ readings }) => readings.some(isIt));
    if (!result) return problem(404, 'There is none');
    result.readings = result.readings.map((one) => ({ ...one, patient }));
    result.moves = [...result.moves, {
      from, to: patient, by, at: make.at(this.ms), reason,
    }];
    this.say('patients', {});
    return [200, wholeResult(result)];
  }

  /** A device is on a patient: since yesterday. */
  bind(of, patient, bed = null, fromMs = this.ms - DAY_MS) {
    const id = this.bindings.length + this.ended.length + 1;
    this.bindings = [...this.bindings, make.binding(of, patient, bed, id, fromMs)];
    this.say('patients', {});
  }

  /** A device goes to another patient, or to nobody, now. */
  move(of, patient = null, bed = null) {
    const isIt = (one) => one.site === of.site && one.device === of.device;
    const over = this.bindings.filter(isIt).map((one) => ({ ...one, until: make.at(this.ms) }));
    this.ended = [...over, ...this.ended];
    this.bindings = this.bindings.filter((one) => !isIt(one));
    if (patient || bed) this.bind(of, patient, bed, this.ms);
    else this.say('patients', {});
  }

  /** The list of bindings: those that hold, or of a device all there ever were. */
  bound(asked) {
    const of = (name, one) => !asked.has(name) || asked.get(name) === one[name];
    const all = asked.get('all') ? [...this.bindings, ...this.ended] : this.bindings;
    return { bindings: all.filter((one) => of('site', one) && of('device', one)) };
  }

  /** What persons do with an alert, as the real county does it, in short. */
  act(alert, deed, {
    reason, note = '', until = null, to = null, second = null, board = null, signs = [],
  }, by) {
    const now = make.at(this.ms);
    const told = (what, more, fields) => [200, this.change(alert.id, {
      ...fields, timeline: [...alert.timeline, make.step(what, this.ms, {
        by, note, board, ...more,
      })],
    })];
    if (deed === 'acknowledge') {
      if (!REASONS.includes(reason)) return problem(400, 'reason');
      const { acknowledged_by: first } = alert;
      if (first && alert.state !== 'active_unack') {
        return problem(409, 'Somebody was first', { acknowledged_by: first });
      }
      const state = alert.state === 'cleared_unack' ? 'closed' : 'active_ack';
      return told('acknowledged', { reason }, {
        state, condition: state, acknowledged_by: by, acknowledged_at: now, reason, owner: by,
        assigned_to: alert.assigned_to === by ? by : null, next_step: null,
      });
    }
    if (deed === 'shelve') {
      return told('shelved', { detail: reason, until, to: second }, {
        state: 'shelved', shelved_by: by, shelved_until: until, shelf_reason: reason, next_step: null,
      });
    }
    if (deed === 'unshelve') {
      return told('unshelved', {}, {
        state: alert.condition, shelved_by: null, shelved_until: null, shelf_reason: null,
      });
    }
    if (['assign', 'escalate'].includes(deed) && !reason) return problem(400, 'reason');
    if (deed === 'assign') {
      return told('assigned', { to, note: reason }, { assigned_to: to, owner: to });
    }
    if (deed === 'escalate') {
      return told('escalated', { detail: 'second', note: reason }, { escalation_level: 'second' });
    }
    if (deed === 'note') return told('noted', {});
    if (deed === 'danger-signs') {
      const risen = signs.length ? {
        priority: 'high', state: 'active_unack', condition: 'active_unack', acknowledged_by: null,
        acknowledged_at: null, reason: null, owner: null,
      } : {};
      const detail = signs.join() || 'none';
      return told('danger_signs', { detail }, { danger_signs: signs, ...risen });
    }
    if (deed === 'out-of-service') return told('out_of_service', {}, { state: 'out_of_service' });
    if (deed === 'undo') {
      return told('undone', {}, {
        state: 'active_unack', condition: 'active_unack', acknowledged_by: null,
        acknowledged_at: null, reason: null, owner: null, shelved_by: null, shelved_until: null,
        shelf_reason: null,
      });
    }
    return problem(404, 'There is none');
  }

  follow(secret, url, response) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    const stream = { secret, url, response, sent: 0 };
    this.streams = this.streams.filter((one) => one.secret !== secret);
    this.streams.push(stream);
    response.on('close', () => {
      this.streams = this.streams.filter((one) => one !== stream);
    });
    send(stream, 'hello', {
      server_time: make.at(this.ms), board: this.board, generation: this.generation,
    });
  }

  /** How much the newest stream of a session was told; `null` where there is none. */
  sentTo(secret) {
    return this.streams.find((stream) => stream.secret === secret)?.sent ?? null;
  }

  /** Says something to every board. */
  say(name, data) {
    if (EVENTS[name]) {
      const wrong = faults(schemaOf(EVENTS[name]), data);
      if (wrong.length) this.faults.push(`event ${name}: ${wrong.join('; ')}`);
    }
    for (const stream of this.streams) send(stream, name, data);
  }

  beat() {
    this.say('heartbeat', { server_time: make.at(this.ms) });
  }

  /** An alert begins. */
  raise(of, priority, fields = {}) {
    const alert = make.alert(of, priority, fields.started_ms ?? this.ms, without(fields, 'started_ms'));
    this.alerts.set(alert.id, alert);
    this.say('alert', alert);
    return alert;
  }

  /** An alert changes. */
  change(id, fields) {
    const before = this.alerts.get(id);
    const alert = { ...before, ...fields, revision: before.revision + 1 };
    this.alerts.set(id, alert);
    this.say('alert', alert);
    return alert;
  }

  /** A device measures. */
  measure(of, metric, value, fields = {}) {
    const on = this.bindings.find((one) => one.site === of.site && one.device === of.device
      && !one.until);
    const patient = on?.patient ?? null;
    const reading = make.reading(of, metric, value, this.ms, {
      patient, bound_patient: patient, ...fields,
    });
    const wrong = faults(schemaOf('Reading'), reading);
    if (wrong.length) this.faults.push(`reading: ${wrong.join('; ')}`);
    of.latest = [...of.latest.filter((one) => one.metric !== metric), reading];
    this.say('reading', { readings: [reading] });
    return reading;
  }

  wave(of, blocks) {
    for (const block of blocks) {
      const wrong = faults(schemaOf('Block'), block);
      if (wrong.length) this.faults.push(`block: ${wrong.join('; ')}`);
    }
    this.say('waveform', { site: of.site, blocks });
  }

  /** The cable is cut: nothing comes, nobody gets through. */
  cut() {
    this.down = true;
    this.streams = [];
    for (const socket of this.sockets) socket.destroy();
  }

  mend() {
    this.down = false;
  }

  async close() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((done) => {
      this.server.close(done);
    });
  }
}

function send(stream, name, data) {
  stream.sent += 1;
  stream.response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

export function problem(status, title, more = {}) {
  return [status, {
    type: 'about:blank', code: CODES[status], title, status, detail: title, ...more,
  }];
}

/** What is said where a test does not say why. */
const CODES = {
  400: 'unacceptable', 401: 'not_logged_in', 403: 'role', 404: 'not_found', 409: 'acknowledged', 422: 'named', 500: 'no_database',
};

/** Whether a result was measured within the times that are asked for. */
function isWithin(asked) {
  const [fromMs, toMs] = ['from', 'to'].map((name) => Date.parse(asked.get(name)));
  return ({ readings: [{ measured_time: at }] }) => (
    !(Date.parse(at) < fromMs) && !(Date.parse(at) > toMs));
}

function without(fields, name) {
  const { [name]: _, ...rest } = fields;
  return rest;
}

/** What a test does not say of a result. */
function wholeResult(result) {
  return { two_hours: null, missed: null, ...result };
}
