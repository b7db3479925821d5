// A browser and a county for the checks of one file.

import assert from 'node:assert/strict';
import { after, afterEach, before } from 'node:test';
import { Chromium } from './chromium.mjs';
import { County } from './county.mjs';
import { Page } from './page.mjs';

/** `open(options)` opens a page at a county that is empty before every check. */
export function stand() {
  const it = { open: (options) => Page.open(it.browser, it.county, options) };
  before(async () => {
    it.browser = Chromium.start();
    it.county = await County.start();
  });
  afterEach(async () => {
    const { faults, pages } = it.county;
    it.county.mend();
    for (const page of [...pages]) await page.close();
    it.county.clear();
    assert.deepEqual(faults.splice(0), [], 'the county said what the real one never says');
  });
  after(async () => {
    await it.browser.close();
    await it.county.close();
  });
  return it;
}

/** The selector of an alert's row. */
export const rowOf = ({ id }) => `.alert[data-alert-id="${id}"]`;
