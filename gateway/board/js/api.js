// The county's API. Every failure is a `Failure` with its status; 0 is "no answer".

import * as clock from './clock.js';

const BASE = '/api/v1';
/** An answer that takes longer is none. */
const TIMEOUT_MS = 15_000;
/** A nurse who acknowledges waits no longer than this (nurse board, chapter 4). */
const ACKNOWLEDGE_MS = 5_000;

/** What went wrong: the status and what the problem document says. */
export class Failure extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

async function call(method, path, body, timeoutMs = TIMEOUT_MS) {
  const abort = new AbortController();
  const askedAt = clock.now();
  const timer = clock.after(timeoutMs, () => abort.abort());
  try {
    const answer = await fetch(BASE + path, {
      method,
      signal: abort.signal,
      credentials: 'same-origin',
      headers: body ? { 'Content-Type': 'application/json' } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
    clock.heardAnswer(answer.headers.get('Date'), askedAt);
    const text = await answer.text();
    const json = text ? JSON.parse(text) : {};
    if (!answer.ok) throw new Failure(answer.status, json);
    return json;
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(0, { detail: String(error) });
  } finally {
    clock.cancel(timer);
  }
}

/** Who is logged in. Whose password somebody else knows logs in again, and is asked for another. */
export async function session() {
  const user = await call('GET', '/session');
  if (user.must_set_password) throw new Failure(403, { detail: 'must_set_password' });
  return user;
}
export const logIn = (name, password) => call('POST', '/session', { name, password });
export const setPassword = (old, password) => (
  call('POST', '/session/password', { old, new: password }));
export const logOut = () => call('DELETE', '/session');
export const catalogue = () => call('GET', '/metrics-catalogue');
export const sites = () => call('GET', '/sites');
export const devices = () => call('GET', '/devices');
export const openAlerts = () => call('GET', '/alerts?state=open');

export function acknowledge(id, reason, note) {
  const path = `/alerts/${encodeURIComponent(id)}/acknowledge`;
  return call('POST', path, { reason, note }, ACKNOWLEDGE_MS);
}

/** The address of the events, with the strips that are shown. */
export function eventsAddress(strips) {
  const wanted = strips.map(encodeURIComponent).join(',');
  return `${BASE}/events${wanted ? `?waveforms=${wanted}` : ''}`;
}
