// Ten seconds to take back what one just did, whatever it was: the only such bar of the page.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { t } from './i18n.js';

const OFFERED_MS = 10_000;
/** More lines would cover what lies under the bar. */
const OFFERS_MAX = 3;

export class UndoBar {
  constructor() {
    /** What can be taken back, the newest first. */
    this.offers = [];
    this.element = h('div', { class: 'undo', role: 'status', hidden: true });
  }

  /** `words()` say what was done; `takeBack()` takes it back at the county. */
  offer(words, takeBack) {
    const offer = { words, takeBack, until: clock.now() + OFFERED_MS };
    offer.said = h('span');
    offer.time = h('span');
    // Nobody has keys on a phone.
    offer.key = h('span', { class: 'keys' });
    offer.button = h('button', { onclick: () => this.take(offer) }, offer.time, offer.key);
    offer.element = h('div', { class: 'undo-line' }, offer.said, offer.button);
    this.offers = [offer, ...this.offers].slice(0, OFFERS_MAX);
    this.tick(offer);
  }

  /** It is over: what was offered is for who did it. */
  clear() {
    this.offers = [];
    this.draw();
  }

  tick(offer) {
    if (!this.offers.includes(offer)) return;
    if (clock.now() >= offer.until && !offer.busy) this.end(offer);
    else clock.after(1_000, () => this.tick(offer));
    this.draw();
  }

  /** Among others its line stays for a moment: none may slide under a finger that comes down. */
  end(offer) {
    if (offer.ended) return;
    offer.ended = true;
    const gone = () => {
      this.offers = this.offers.filter((one) => one !== offer);
      this.draw();
    };
    if (this.offers.every(({ ended }) => ended)) this.clear();
    else clock.after(1_000, gone);
  }

  draw() {
    set(this.element, 'hidden', !this.offers.length);
    arrange(this.element, this.offers.map((offer) => {
      const {
        words, until, failed, busy, ended, said, button, time, key,
      } = offer;
      set(button, 'disabled', busy || ended ? true : null);
      put(said, failed ? t('undo.failed', { what: words() }) : words());
      put(time, t('undo.do', { s: Math.max(0, Math.ceil((until - clock.now()) / 1000)) }));
      put(key, offer === this.ofKey() ? t('undo.key') : '');
      return offer.element;
    }));
  }

  /** What `U` takes back: what was done last of what still can be. */
  ofKey() {
    return this.offers.find(({ ended }) => !ended);
  }

  /** `U`: while the county has not answered a second one takes back nothing else. */
  takeByKey() {
    const offer = this.ofKey();
    if (offer && !offer.busy) this.take(offer);
  }

  async take(offer) {
    offer.busy = true;
    this.draw();
    try {
      await offer.takeBack();
      this.end(offer);
    } catch (failure) {
      // It is not taken back: that is said for as long as the offer was, and can be tried again.
      Object.assign(offer, { failed: true, until: clock.now() + OFFERED_MS });
    }
    offer.busy = false;
    this.draw();
  }
}
