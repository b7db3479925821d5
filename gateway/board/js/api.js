// The county's API. Every failure is a `Failure` with its status; 0 is "no answer".

import { boardName } from './board-name.js';
import * as clock from './clock.js';

const BASE = '/api/v1';
/** An answer that takes longer is none. */
const TIMEOUT_MS = 15_000;
/** A nurse who acknowledges waits no longer than this (nurse board, chapter 4). */
const ACT_MS = 5_000;

/** What went wrong: the status and what the problem document says. */
export class Failure extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

/** What comes of `run(signal)`, which is broken off after that time. */
async function inTime(timeoutMs, run) {
  const abort = new AbortController();
  const timer = clock.after(timeoutMs, () => abort.abort());
  try {
    return await run(abort.signal);
  } finally {
    clock.cancel(timer);
  }
}

async function call(method, path, body, timeoutMs = TIMEOUT_MS) {
  const askedAt = clock.now();
  try {
    return await inTime(timeoutMs, async (signal) => {
      const answer = await fetch(BASE + path, {
        method,
        signal,
        credentials: 'same-origin',
        headers: body ? { 'Content-Type': 'application/json' } : {},
        body: body && typeof body !== 'string' ? JSON.stringify(body) : body || undefined,
      });
      clock.heardAnswer(answer.headers.get('Date'), askedAt);
      const text = await answer.text();
      const json = text ? JSON.parse(text) : {};
      if (!answer.ok) throw new Failure(answer.status, json);
      return json;
    });
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(0, { detail: String(error) });
  }
}

/** Asks for what stands at `path` below the API's base; `query` without what is empty. */
export function ask(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const text = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return call('GET', text ? `${path}?${text}` : path);
}

/** Changes something at the county. */
export const tell = (method, path, body, timeoutMs) => call(method, path, body, timeoutMs);

/** Who is logged in. Whose password somebody else knows logs in again, and is asked for another. */
export async function session() {
  const user = await call('GET', '/session');
  if (user.must_set_password) throw new Failure(403, { detail: 'must_set_password' });
  return user;
}
export const logIn = (name, password) => call('POST', '/session', { name, password });
export const setPassword = (old, password) => (
  call('POST', '/session/password', { old, new: password }));
export const setPin = (password, pin) => call('POST', '/session/pin', { password, pin });
export const logOut = () => call('DELETE', '/session');
export const catalogue = () => call('GET', '/metrics-catalogue');
export const sites = () => call('GET', '/sites');
export const devices = () => call('GET', '/devices');
/** Of thousands in the programmes those whom a board may show. */
export const patients = () => call('GET', '/patients?here=true');
export const openAlerts = () => call('GET', '/alerts?state=open');

/** What is over, of the last hours. */
export function closedAlerts(fromMs) {
  return call('GET', `/alerts?state=closed&from=${new Date(fromMs).toISOString()}`);
}

export const bindings = () => call('GET', '/bindings');

/** A device is on a patient from now on; what it says then is theirs. */
export function bind({ site, device }, patient) {
  return call('POST', '/bindings', {
    site, device, patient, reason: 'board',
  });
}

export const unbind = ({ id }) => call('DELETE', `/bindings/${id}`, { reason: 'board' });
/** On whom a device is and was. */
export const bindingsOf = ({ site, device }) => ask('/bindings', { site, device, all: true });
const ofPatient = (key) => `/patients/${encodeURIComponent(key)}`;
export const patient = (key) => call('GET', ofPatient(key));
export const unmask = (key) => call('POST', `${ofPatient(key)}/unmask`, {});
export const setLimit = (key, limit) => call('POST', `${ofPatient(key)}/limits`, limit);
export const endLimit = (key, id) => call('DELETE', `${ofPatient(key)}/limits/${id}`);
/** Changes what is known of a patient, as it was fetched. */
export const change = ({ patient: key, version }, fields) => (
  call('PATCH', ofPatient(key), { version, ...fields }));
export const enter = (key, entry) => call('POST', `${ofPatient(key)}/entries`, entry);

/** Trends of `{patient}` or `{site, device}`. */
export const trends = (query) => ask('/trends', query);
export const waveforms = (query) => ask('/waveforms', query);
export const alertsSince = (query) => ask('/alerts', query);

/** Moves a result, named by where one of its readings is. */
export function reassign({
  outbox, lane, seq, index,
}, body) {
  return call('POST', `/readings/${outbox}/${lane}/${seq}/${index}/reassign`, body);
}

/** A person says whether a result was measured two hours after the meal. */
export function afterMeal({
  outbox, lane, seq, index,
}, twoHours) {
  const path = `/readings/${outbox}/${lane}/${seq}/${index}/after-meal`;
  return call('POST', path, { two_hours: twoHours });
}

/** What a person does with an alert; `in-service` takes back `out-of-service`. */
export function act(id, deed, body) {
  const path = `/alerts/${encodeURIComponent(id)}/`;
  const here = `?board=${encodeURIComponent(boardName())}`;
  if (deed === 'in-service') return call('DELETE', `${path}out-of-service${here}`, null, ACT_MS);
  return call('POST', path + deed + here, body, ACT_MS);
}

/** Puts a device back that somebody took off. */
export function putBack({ site, device }) {
  const path = `/devices/${encodeURIComponent(site)}/${encodeURIComponent(device)}/out-of-service`;
  return call('DELETE', `${path}?board=${encodeURIComponent(boardName())}`, null, ACT_MS);
}

/** Whom one may hand an alert to. */
export const alertPeople = (id) => call('GET', `/alerts/${encodeURIComponent(id)}/people`);

export const boards = () => call('GET', '/boards');
export const tellSound = (word) => call('POST', '/boards/sound', word);

/** Gets through even where the page is gone before the answer. */
export const boardLeaves = (id) => fetch(`${BASE}/boards/${id}`, {
  method: 'DELETE', credentials: 'same-origin', keepalive: true,
});

/** Whether the page could be fetched anew, by whoever is logged in. */
export async function isThere() {
  try {
    await session();
    return (await fetch('/', { cache: 'no-store' })).ok;
  } catch (failure) {
    return false;
  }
}

/** Of which program the county is, by the page that it has now; `null` where it does not answer. */
export async function boardThere() {
  try {
    return await inTime(TIMEOUT_MS, async (signal) => {
      const answer = await fetch('/', { cache: 'no-store', signal });
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      return answer.ok ? page.querySelector('meta[name="board"]').content : null;
    });
  } catch (failure) {
    return null;
  }
}

/** Says that it is still the person who logged in: `{ pin }` or `{ password }`. */
export const confirm = (proof) => call('POST', '/session/confirm', proof);

/** The address of the events, with the strips that are shown. */
export function eventsAddress(strips) {
  const wanted = strips.map(encodeURIComponent).join(',');
  return `${BASE}/events${wanted ? `?waveforms=${wanted}` : ''}`;
}
