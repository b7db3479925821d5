// A page of the board in Chromium: the hand, the eye and the clock of a test.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { inPage } from './in-page.mjs';

/** What a test waits for comes within this, on a loaded machine too. */
const LIMIT_MS = 60_000;
const LOOK_MS = 20;
/** The county's heartbeats, and how far the clock goes at once. */
const BEAT_MS = 5_000;

const KEYS = {
  Enter: [13, '\r'], Escape: [27], Tab: [9], ' ': [32, ' '], ArrowLeft: [37], ArrowUp: [38],
  ArrowRight: [39], ArrowDown: [40],
  Backspace: [8],
};

export class Page {
  /** A page at the county's board, as `user`, with the clock at the county's time. */
  static async open(browser, county, {
    user = 'li', size = [1400, 900], mobile = false, scale = 1, theme = 'night', language = 'zh-CN',
    media = [], known = true, kept = {}, before = null,
  } = {}) {
    const page = new Page(browser, county);
    page.target = await browser.page((method, params) => page.told(method, params));
    for (const domain of ['Page', 'Runtime', 'Log']) await page.send(`${domain}.enable`);
    await page.size(...size, mobile, scale);
    if (media.length) await page.media(media);
    const chosen = { 'board.theme': theme, 'board.language': language, ...kept };
    const source = `(${inPage})(${county.ms}, ${JSON.stringify(chosen)})`;
    await page.send('Page.addScriptToEvaluateOnNewDocument', { source });
    if (before) await page.send('Page.addScriptToEvaluateOnNewDocument', { source: `(${before})()` });
    if (user) {
      const value = county.session(user);
      await browser.send('Storage.setCookies', {
        browserContextId: page.target.browserContextId,
        cookies: [{ name: 'clinic_session', value, url: county.url }],
      });
      page.secret = value;
    }
    county.pages.add(page);
    await page.send('Page.navigate', { url: county.url });
    if (user && known) await page.shows('[data-knowledge="known"]');
    return page;
  }

  constructor(browser, county) {
    Object.assign(this, { browser, county });
    this.faults = [];
  }

  told(method, params) {
    if (method === 'Runtime.exceptionThrown') {
      const { exception, text } = params.exceptionDetails;
      this.faults.push(exception?.description ?? text);
    }
    if (method === 'Runtime.consoleAPICalled' && params.type === 'error') {
      this.faults.push(params.args.map((one) => one.description ?? one.value).join(' '));
    }
  }

  send(method, params) {
    return this.browser.send(method, params, this.target.sessionId);
  }

  /** Runs a function of the test in the page. */
  async run(body, ...values) {
    const { result, exceptionDetails: wrong } = await this.send('Runtime.evaluate', {
      expression: `(${body})(...${JSON.stringify(values)})`, awaitPromise: true, returnByValue: true,
    });
    if (wrong) throw new Error(wrong.exception?.description ?? wrong.text);
    return result.value;
  }

  /** Waits until the function says yes in the page. */
  until(what, body, ...values) {
    return this.wait(what, () => this.run(body, ...values));
  }

  /** Waits until it is so; tells what is on screen if it does not come. */
  async wait(what, isSo) {
    const end = Date.now() + LIMIT_MS;
    for (;;) {
      const found = await isSo();
      if (found) return found;
      if (Date.now() > end) break;
      await new Promise((done) => {
        setTimeout(done, LOOK_MS);
      });
    }
    const seen = await this.run(() => document.body.innerText.slice(0, 3000));
    return assert.fail(`${what} does not happen; on screen is:\n${seen}`);
  }

  shows(css) {
    return this.until(`${css} is there`, (one) => Boolean(window.__test.seen(one)), css);
  }

  hides(css) {
    return this.until(`${css} is not there`, (one) => !window.__test.seen(one), css);
  }

  says(css, words) {
    return this.until(`${css} says ${words}`, (one, text) => {
      const element = window.__test.seen(one);
      return Boolean(element) && element.innerText.includes(text);
    }, css, words);
  }

  text(css) {
    return this.run((one) => document.querySelector(one)?.innerText ?? null, css);
  }

  attribute(css, name) {
    return this.run((one, of) => document.querySelector(one)?.getAttribute(of) ?? null, css, name);
  }

  /** Ids of the alert rows from top to bottom. */
  rows() {
    return this.run(() => [...document.querySelectorAll('.alerts [data-alert-id]')]
      .map((row) => row.dataset.alertId));
  }

  box(css) {
    return this.run((one) => {
      const { x, y, width, height } = document.querySelector(one).getBoundingClientRect();
      return { x, y, width, height };
    }, css);
  }

  async mouse(type, css, more = {}) {
    await this.run((one) => document.querySelector(one).scrollIntoView({ block: 'nearest' }), css);
    const { x, y, width, height } = await this.box(css);
    await this.send('Input.dispatchMouseEvent', {
      type, x: x + width / 2, y: y + height / 2, ...more,
    });
  }

  hover(css) {
    return this.mouse('mouseMoved', css);
  }

  async click(css) {
    await this.shows(css);
    const button = { button: 'left', clickCount: 1 };
    for (const type of ['mouseMoved', 'mousePressed', 'mouseReleased']) {
      await this.mouse(type, css, type === 'mouseMoved' ? {} : button);
    }
  }

  async key(key, { shift = false } = {}) {
    const [code, text] = KEYS[key] ?? [key.toUpperCase().charCodeAt(0), key];
    const event = { key, windowsVirtualKeyCode: code, modifiers: shift ? 8 : 0 };
    await this.send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', text, ...event });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  /** A key that is down repeats itself. */
  async hold(key) {
    const [code, text] = KEYS[key] ?? [key.toUpperCase().charCodeAt(0), key];
    await this.send('Input.dispatchKeyEvent', {
      type: 'keyDown', text, key, windowsVirtualKeyCode: code, autoRepeat: true,
    });
  }

  type(text) {
    return this.send('Input.insertText', { text });
  }

  /** Time goes on: at the county and in every page that is open; the county's heart beats. */
  async pass(ms, { beats = true } = {}) {
    await this.caughtUp();
    for (let left = ms; left > 0;) {
      const step = Math.min(left, BEAT_MS - (this.county.ms % BEAT_MS));
      left -= step;
      this.county.ms += step;
      for (const page of this.county.pages) await page.run((by) => window.__test.pass(by), step);
      if (beats && this.county.ms % BEAT_MS === 0) this.county.beat();
      await this.caughtUp();
    }
  }

  /** What the county said has been taken by every page, and what that made it fetch. */
  async caughtUp() {
    for (const page of this.county.pages) {
      await page.wait('what the county said is taken', async () => {
        // The stream may be opened anew meanwhile, and its count begins anew.
        const sent = this.county.sentTo(page.secret);
        const { heard, fetching } = await page.run(() => {
          const { heard: events, fetching: fetches } = window.__test;
          return { heard: events, fetching: fetches };
        });
        return fetching === 0 && (sent === null || heard >= sent);
      });
    }
  }

  /**
   * The window that prints, within the page so that a test can look at it: what it is asked
   * (`paper(what, body)`) is waited for. That the real one has a process of its own is in how it
   * was opened.
   */
  async paper() {
    await this.send('Page.addScriptToEvaluateOnNewDocument', {
      source: `window.print = () => {
        if (window.parent === window) throw new Error('the board itself stands still');
        document.body.dataset.printed = 'true';
      };`,
    });
    await this.run(() => {
      window.print = () => {
        throw new Error('the board itself stands still');
      };
      window.open = (address, _, features) => {
        if (!features.split(',').includes('noopener')) throw new Error(features);
        const frame = document.createElement('iframe');
        frame.id = 'paper';
        frame.src = address;
        document.body.append(frame);
      };
    });
    return (what, body) => this.until(what, `() => {
      const sheet = document.querySelector('#paper')?.contentDocument;
      return sheet?.body && (${body})(sheet);
    }`);
  }

  size(width, height, mobile = false, scale = 1) {
    return this.send('Emulation.setDeviceMetricsOverride', {
      width, height, mobile, deviceScaleFactor: scale,
    });
  }

  /** `[['prefers-reduced-motion', 'reduce']]`; `type` is `print` for paper. */
  media(features, type = '') {
    return this.send('Emulation.setEmulatedMedia', {
      media: type, features: features.map(([name, value]) => ({ name, value })),
    });
  }

  /** `achromatopsia`, `deuteranopia`, …, `none`. */
  vision(type) {
    return this.send('Emulation.setEmulatedVisionDeficiency', { type });
  }

  /** A picture of the page or of a part of it, as PNG. */
  async picture(css = null, path = null) {
    const clip = css ? { ...await this.box(css), scale: 1 } : undefined;
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', clip });
    if (path) writeFileSync(path, Buffer.from(data, 'base64'));
    return data;
  }

  async close() {
    this.county.pages.delete(this);
    await this.browser.send('Target.disposeBrowserContext', {
      browserContextId: this.target.browserContextId,
    });
    assert.deepEqual(this.faults, [], 'the page told of faults');
  }
}
