// Chromium without a screen, spoken to through a pipe in its own protocol (CDP): no package needed.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A browser that answers no question for this long is stuck. */
const ANSWER_MS = 60_000;
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--mute-audio',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--hide-scrollbars', '--lang=zh-CN', '--remote-debugging-pipe',
];

function program() {
  const found = ['chromium', 'google-chrome']
    .find((name) => spawnSync('which', [name]).status === 0);
  if (!found) throw new Error('there is no chromium; tests/run installs it');
  return found;
}

export class Chromium {
  static start() {
    const folder = mkdtempSync(join(tmpdir(), 'board-browser-'));
    const process = spawn(program(), [...ARGUMENTS, `--user-data-dir=${folder}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    return new Chromium(process, folder);
  }

  constructor(process, folder) {
    Object.assign(this, { process, folder });
    this.questions = new Map();
    this.last = 0;
    this.listeners = new Map();
    this.contexts = [];
    let rest = Buffer.alloc(0);
    process.stdio[4].on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        const message = JSON.parse(rest.subarray(0, end).toString());
        rest = rest.subarray(end + 1);
        this.heard(message);
      }
    });
  }

  heard({ id, result, error, method, params, sessionId }) {
    if (id === undefined) {
      this.listeners.get(sessionId)?.(method, params);
      return;
    }
    const question = this.questions.get(id);
    this.questions.delete(id);
    clearTimeout(question.timer);
    if (error) question.fail(new Error(`${question.method}: ${error.message}`));
    else question.done(result);
  }

  send(method, params = {}, sessionId = undefined) {
    this.last += 1;
    const id = this.last;
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`${method}: no answer`)), ANSWER_MS);
      this.questions.set(id, {
        method, done, fail, timer,
      });
    });
  }

  /** A page in a profile of its own; `told(method, params)` hears what it says by itself. */
  async page(told = () => {}) {
    const { browserContextId } = await this.send('Target.createBrowserContext');
    const { targetId } = await this.send('Target.createTarget', {
      url: 'about:blank', browserContextId,
    });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    this.listeners.set(sessionId, told);
    return { browserContextId, targetId, sessionId };
  }

  async close() {
    const ended = new Promise((done) => {
      this.process.once('exit', done);
    });
    await this.send('Browser.close').catch(() => this.process.kill());
    await ended;
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
