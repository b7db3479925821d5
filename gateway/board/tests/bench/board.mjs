// The board in Chromium on its own clock, and what its page costs.

import { Page } from '../browser/page.mjs';

const CONNECTED_MS = 60_000;
const FAULT_CHARS = 200;

/** The board of a county at `url`, for the person whose session that is. */
export async function openBoard(browser, url, session, size = [1400, 900]) {
  const page = new Page(browser, null);
  page.target = await browser.page((method, params) => page.told(method, params));
  for (const domain of ['Page', 'Runtime', 'Performance']) await page.send(`${domain}.enable`);
  await page.size(...size);
  await browser.send('Storage.setCookies', {
    browserContextId: page.target.browserContextId,
    cookies: [{ name: 'clinic_session', value: session, url }],
  });
  await page.send('Page.navigate', { url });
  await happens(page, 'the board knows the present', () => (
    document.querySelector('[data-knowledge="known"]') !== null));
  return page;
}

/** Waits until the function says yes in the page. */
export async function happens(page, what, body, ...values) {
  const end = Date.now() + CONNECTED_MS;
  while (!await page.run(body, ...values)) {
    if (Date.now() > end) throw new Error(`${what} does not happen`);
    await new Promise((done) => {
      setTimeout(done, 100);
    });
  }
}

/** A finger on something that is there. */
export async function press(page, css) {
  const button = { button: 'left', clickCount: 1 };
  for (const type of ['mousePressed', 'mouseReleased']) await page.mouse(type, css, button);
}

/** What the page holds after everything that nobody needs is thrown away. */
export async function held(page) {
  for (let turn = 0; turn < 2; turn += 1) await page.send('HeapProfiler.collectGarbage');
  const { metrics } = await page.send('Performance.getMetrics');
  const of = Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  return {
    heap_mib: Number((of.JSHeapUsedSize / 2 ** 20).toFixed(2)),
    nodes: of.Nodes,
    listeners: of.JSEventListeners,
    documents: of.Documents,
    cpu_s: Number(of.TaskDuration.toFixed(1)),
  };
}

/** Percentiles of a list of numbers. */
export function spread(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = (share) => Math.min(sorted.length - 1, Math.floor(sorted.length * share));
  const part = (share) => Number(sorted[at(share)].toFixed(1));
  return {
    count: sorted.length, p50: part(0.5), p95: part(0.95), p99: part(0.99), max: part(1),
  };
}

/** Each kind of fault once and in short, with how often it came: of two hundred patients it is one. */
export function brief(faults) {
  const times = new Map();
  for (const fault of faults) {
    const kind = fault.replace(/[0-9a-f]{32}/g, '…').slice(0, FAULT_CHARS);
    times.set(kind, (times.get(kind) ?? 0) + 1);
  }
  return [...times].map(([kind, count]) => `${count} × ${kind}`);
}
