// This board among the others: the county is told whether it can be heard, and tells which others
// of the township cannot, and where none can.

import * as api from './api.js';
import { boardName } from './board-name.js';
import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { t } from './i18n.js';

/** The county forgets a board that is silent for five of these. */
const TELL_MS = 30_000;
/** The county takes no patient's name for a board's. */
const NAME_REFUSED = 422;
/** Names in the banner; the rest is counted. */
const NAMED_MAX = 3;
const HEARD = ['on', 'paused'];

const random = () => [...crypto.getRandomValues(new Uint8Array(16))]
  .map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** 甲、乙、丙 +2 */
function named(names) {
  const rest = names.length - NAMED_MAX;
  return names.slice(0, NAMED_MAX).join(t('boards.and')) + (rest > 0 ? ` +${rest}` : '');
}

export class Boards {
  /** `sound` is this board's; `onChange()`: the others are otherwise. */
  constructor({ sound, onChange }) {
    Object.assign(this, { sound, onChange });
    this.id = random();
    this.open = false;
    this.telling = false;
    /** Whether the county knows how it is here. */
    this.known = false;
    this.others = { boards: [], clinics_without_sound: [] };
    /** Whether the county could not be asked for the others: then it is asked again. */
    this.failed = false;
    this.element = h('div', { class: 'banner board-banner', role: 'status', hidden: true });
  }

  start() {
    this.open = true;
    this.onHide = () => this.leave();
    window.addEventListener('pagehide', this.onHide);
    // A page that comes back from the browser's memory is one of them again.
    this.onShow = () => {
      this.open = true;
      this.tell();
    };
    window.addEventListener('pageshow', this.onShow);
    this.beat();
  }

  beat() {
    if (!this.element.isConnected) return;
    clock.after(TELL_MS, () => this.beat());
    this.tell();
    if (this.failed) this.fetch();
  }

  /** The state of the sound is another: the county is told, the newest word last. */
  async tell() {
    this.known = false;
    if (this.telling) return;
    this.telling = true;
    try {
      while (this.open && !this.known) {
        this.known = true;
        await api.tellSound({ board: this.id, name: boardName(), sound: this.sound.state() });
      }
      this.refuse(false);
    } catch (failure) {
      // Told again in a while, and when the link is back.
      this.known = false;
      this.refuse(failure.status === NAME_REFUSED);
    }
    this.telling = false;
  }

  /** The county heard the sound, and takes another name or this one. */
  refuse(isRefused) {
    if (this.isRefused === isRefused) return;
    this.isRefused = isRefused;
    this.onChange();
  }

  /** How the others are; what was known stays where nobody answers. */
  async fetch() {
    try {
      this.others = await api.boards();
      this.failed = false;
    } catch (failure) {
      this.failed = true;
      return;
    }
    if (this.open) this.onChange();
  }

  /** Everything is fetched anew. */
  synced() {
    if (!this.known) this.tell();
    this.fetch();
  }

  draw() {
    const { boards, clinics_without_sound: clinics } = this.others;
    const silent = boards.filter(({ board, sound }) => board !== this.id && !HEARD.includes(sound));
    set(this.element, 'hidden', !silent.length && !clinics.length && !this.isRefused);
    set(this.element, 'data-none', clinics.length > 0);
    const words = [
      this.isRefused ? t('boards.refused') : '',
      clinics.length ? t('boards.none', { clinics: named(clinics) }) : '',
      silent.length ? t('boards.silent', { boards: named(silent.map(({ name }) => name)) }) : '',
    ];
    put(this.element, words.filter(Boolean).join(' '));
  }

  /** The board takes its leave; the page may be gone before the answer. */
  leave() {
    if (!this.open) return;
    this.open = false;
    api.boardLeaves(this.id).catch(() => {});
  }

  /** Nobody is logged in any more. */
  close() {
    window.removeEventListener('pagehide', this.onHide);
    window.removeEventListener('pageshow', this.onShow);
    this.leave();
  }
}
