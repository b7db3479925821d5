// The board: puts the parts together.

import * as api from './api.js';
import * as clock from './clock.js';
import { mayAct } from './alert-actions.js';
import { AlertList } from './alerts.js';
import { Awake } from './awake.js';
import { loadBoardName } from './board-name.js';
import { Boards } from './boards.js';
import { choiceIn } from './choosing.js';
import { h, put, set } from './dom.js';
import { Drawer } from './drawer.js';
import { Events } from './events.js';
import { loadTexts, nextLanguage, t } from './i18n.js';
import { loadFilter } from './filter.js';
import { Flash } from './flash.js';
import { showLogin } from './login.js';
import { Missed } from './missed.js';
import { Notice } from './notice.js';
import { ageNumbers } from './number.js';
import { Office } from './office.js';
import { Pages } from './pages.js';
import { Program } from './program.js';
import { SessionEnd, whyEnded } from './session-end.js';
import { Shift } from './shift.js';
import { Sound } from './sound.js';
import { untilLinkMs } from './stale.js';
import {
  believeAnew, deviceKey, forgetAll, putAlert, putBroker, putDevice, putDisk, putPatients, putPending,
  putReadings, putSink, putSite, replaceAll, setCatalogue, store,
} from './store.js';
import { Tiles } from './tiles.js';
import { TopBar, applyTheme } from './topbar.js';
import { UndoBar } from './undo-bar.js';
import { Waves } from './waves.js';

const DRAW_MS = 200;
const SWEEP_MS = 35;
const TICK_MS = 1_000;
/** A board that begins before the county asks again this often. */
const START_MS = 5_000;
/** How long a fault is told after it last happened. */
const FAULT_MS = 30_000;
const root = document.getElementById('app');

class Board {
  constructor() {
    const onLoggedOut = (why) => this.leave(why);
    this.events = new Events({
      fetchAll: () => this.fetchAll(),
      take: (name, data) => this.take(name, data),
      // In a tab that is hidden for long this comes more often than any timer.
      onBeat: () => this.guarded(() => this.hearSound()),
      onSynced: () => this.synced(),
      onSilence: (ms) => this.missed.lost(ms),
      onProgram: (board) => this.program.heard(board),
      onRestored: believeAnew,
      onLoggedOut,
      onFault: (error) => this.fault(error),
    });
    const isLost = () => this.events.state() === 'lost';
    this.undo = new UndoBar();
    this.alerts = new AlertList({
      undo: this.undo,
      isLost,
      knowledge: () => this.events.knowledge(),
      onChange: () => this.drawAlerts(),
      onStrange: () => this.events.resync(),
      onFault: (error) => this.fault(error),
      onLoggedOut,
    });
    this.tiles = new Tiles({
      knowledge: () => this.events.knowledge(),
      isLost,
      onStrips: () => this.reopen(),
      onFault: (error) => this.fault(error),
      onOpen: (key) => this.drawer.go(key),
      onLimit: () => this.drawChanged(),
    });
    this.drawer = new Drawer({
      tiles: this.tiles,
      undo: this.undo,
      isLost,
      onStrips: () => this.reopen(),
      onFault: (error) => this.fault(error),
      onLoggedOut,
    });
    this.sound = new Sound(() => {
      this.boards.tell();
      this.drawAlerts();
    });
    this.boards = new Boards({ sound: this.sound, onChange: () => this.drawAlerts() });
    this.program = new Program();
    this.shift = new Shift({
      isFree: () => this.isFree(),
      isOld: () => this.program.isOld() && this.sound.isSettled(),
      renew: () => this.renew(),
    });
    this.notice = new Notice();
    this.awake = new Awake(store.user.role === 'kiosk');
    this.flash = new Flash(this.alerts.list, () => this.open);
    this.top = new TopBar({
      sound: this.sound,
      notice: this.notice,
      onFilter: () => this.refilter(),
      onLanguage: () => this.switchLanguage(),
      onLogOut: () => api.logOut().catch(() => {}).then(() => this.leave('by_person')),
      onLoggedOut,
    });
    this.missed = new Missed({
      onChange: () => this.drawAlerts(), onRead: () => this.alerts.list.focus(), onLoggedOut,
    });
    this.sessionEnd = new SessionEnd({ onLoggedOut });
    this.footer = h('footer');
    this.main = h('main', {}, this.alerts.element, this.tiles.element,
      this.drawer.element);
    this.pages = new Pages({
      user: store.user, undo: this.undo, onTurn: () => this.turn(), onLoggedOut,
    });
    this.broken = h('div', { class: 'banner fault-banner', role: 'alert', hidden: true });
    this.open = true;
    /** Patients of alerts that nobody told us of: asked for once each. */
    this.strangers = new Set();
    this.waves = new Waves(() => this.strips());
    this.pending = false;
    /** Whether something else than readings changed since the last drawing. */
    this.allChanged = false;
    /** The devices whose alerts are to be drawn; `null`: all. */
    this.alertsDue = new Set();
    this.fetching = false;
    this.faultAt = null;
  }

  start() {
    this.top.element.append(this.sessionEnd.element, this.program.element, this.missed.element,
      this.boards.element, this.pages.nav);
    root.replaceChildren(this.top.element, this.broken, this.main, this.pages.element, this.footer,
      ...this.alerts.outside, this.undo.element);
    this.onKey = (event) => this.key(event);
    document.addEventListener('keydown', this.onKey);
    this.onSeen = () => {
      if (document.visibilityState === 'visible') this.events.ask();
    };
    document.addEventListener('visibilitychange', this.onSeen);
    this.sound.takeUp();
    this.draw();
    this.events.open([]);
    this.flash.start();
    this.tick();
    this.sweep();
    this.pages.start();
    this.boards.start();
    this.shift.start();
    this.awake.start();
  }

  /** Whether the page may begin anew: nobody is in the middle of anything. */
  isFree() {
    const form = document.activeElement?.closest('form, input, select, textarea, dialog');
    return this.open && !form && !this.pages.isOpen() && this.drawer.key === null
      && this.alerts.openId === null && !choiceIn(root) && !this.alerts.queue.size
      && !this.alerts.note.unsent.length && !(mayAct() && this.missed.isUnread());
  }

  renew() {
    this.sound.carryOver();
    this.program.carryOver();
    window.location.reload();
  }

  /** A page beside the board was opened or closed. */
  turn() {
    set(this.main, 'hidden', this.pages.isOpen());
    if (!this.pages.isOpen()) this.tiles.element.focus();
  }

  /** Somebody logged out, or the session is over: nothing stays on screen, and that is said. */
  leave(why = whyEnded()) {
    if (!this.open) return;
    this.watchLoss();
    this.open = false;
    this.events.close();
    this.boards.close();
    this.shift.close();
    this.awake.close();
    this.pages.stop();
    this.drawer.leave();
    this.tiles.leave();
    this.alerts.leave();
    this.undo.clear();
    this.missed.forget();
    if (why === 'by_person') this.sound.close();
    this.notice.close();
    document.removeEventListener('keydown', this.onKey);
    document.removeEventListener('visibilitychange', this.onSeen);
    document.body.removeAttribute('data-link');
    forgetAll();
    if (why === 'by_person') showLogin(root, enter);
    else this.stayMute(why);
  }

  /** Nobody at this desk is warned any more: seen and heard until somebody logs in. */
  stayMute(why) {
    let isMute = true;
    const tell = () => {
      if (!isMute) return;
      this.sound.update([], true);
      clock.after(TICK_MS, tell);
    };
    showLogin(root, (user) => {
      isMute = false;
      this.sound.carryOver();
      this.sound.close();
      enter(user);
    }, why);
    tell();
  }

  async fetchAll() {
    const [metrics, sites, devices, alerts, patients, bindings] = await Promise.all([
      store.catalogue.size ? null : api.catalogue(), api.sites(), api.devices(), api.openAlerts(),
      api.patients(), api.bindings(),
    ]);
    if (!this.open) return;
    if (metrics) setCatalogue(metrics.metrics);
    replaceAll({
      ...sites, ...devices, ...patients, ...bindings, ...alerts,
    });
    this.waves.release();
  }

  /** Everything is known again. */
  synced() {
    if (!this.open) return;
    const named = new Set([...store.alerts.values()].map(({ patient }) => patient));
    for (const key of this.strangers) {
      if (store.patients.has(key) || !named.has(key)) this.strangers.delete(key);
    }
    if (this.events.knowledge() === 'known') {
      this.missed.back();
      this.alerts.sendQueue();
    }
    this.boards.synced();
    this.draw();
  }

  take(name, data) {
    if (!this.open) return;
    if (name === 'reading') {
      if (putReadings(data.readings).length) this.events.resyncSoon();
      this.drawSoon(false);
      return;
    } else if (name === 'pending') {
      putPending(data.numbers);
      this.drawSoon(false);
      return;
    } else if (name === 'waveform') {
      this.waves.take({ heard_ms: clock.serverNow(), ...data });
      return;
    } else if (name === 'alert') {
      putAlert(data);
      this.meet(data.patient);
      // It is heard at once, and seen with the next frame: of several that come together each would
      // have the list laid out.
      this.guarded(() => this.hearSound());
      this.drawAlertsSoon(new Set([deviceKey(data)]));
      this.drawSoon(false);
      return;
    } else if (name === 'device') putDevice(data);
    else if (name === 'site') putSite(data);
    else if (name === 'broker') putBroker(data);
    else if (name === 'disk') putDisk(data);
    else if (name === 'sink') putSink(data);
    else if (name === 'boards') this.boards.fetch();
    else if (name === 'patients') {
      this.fetchPatients();
      // Readings may have become somebody else's.
      this.events.resyncSoon();
    }
    this.drawSoon();
  }

  /** Somebody changed patients or bindings: fetched at once, and again where that was too early. */
  async fetchPatients() {
    this.patientsChanged = true;
    this.waves.hold();
    if (this.fetching) return;
    this.fetching = true;
    while (this.open && this.patientsChanged) {
      this.patientsChanged = false;
      try {
        const [patients, bindings] = await Promise.all([api.patients(), api.bindings()]);
        if (!this.open) return;
        putPatients({ ...patients, ...bindings });
        if (!this.patientsChanged) this.waves.release();
      } catch (failure) {
        this.events.resyncSoon();
      }
    }
    this.fetching = false;
    this.drawer.refresh({ waits: true });
    this.draw();
  }

  /** Of tiles and of the drawer. */
  strips() {
    return [...this.tiles.strips(), ...this.drawer.strips()];
  }

  /** A patient whom the page does not know yet. */
  meet(patient) {
    if (!patient || store.patients.has(patient) || this.strangers.has(patient)) return;
    this.strangers.add(patient);
    this.events.resyncSoon();
  }

  /** Other strips are shown: the stream is asked for their leads. */
  reopen() {
    clock.after(0, () => {
      const wanted = [...new Set(this.strips().flatMap((strip) => strip.wanted()))].sort();
      // Opening it anew fetches everything: not for what it sends already.
      if (this.open && wanted.join() !== this.events.strips.join()) this.events.open(wanted);
    });
  }

  /** Something could not be drawn or understood: said until all was drawn again for a while. */
  fault(error) {
    console.error(error);
    this.faultAt = clock.now();
    if (this.open) this.drawFault();
  }

  drawFault() {
    const recent = this.faultAt !== null && clock.now() - this.faultAt < FAULT_MS;
    set(this.broken, 'hidden', !recent);
    if (recent) put(this.broken, t('banner.fault'));
  }

  draw() {
    if (!this.open) return;
    store.changed.clear();
    this.guarded(() => this.tiles.draw());
    this.guarded(() => this.drawer.draw());
    this.drawAlerts();
  }

  /** Draws what rests on readings that changed. */
  drawChanged() {
    const changed = new Set(store.changed);
    store.changed.clear();
    this.guarded(() => this.tiles.draw(changed));
    this.guarded(() => this.drawer.draw(changed));
    this.drawAlerts(changed);
  }

  hearSound() {
    if (this.open) this.sound.update([...store.alerts.values()], this.events.state() === 'lost');
  }

  /** `only`: devices of which something changed, where nothing else did. */
  drawAlerts(only = null) {
    if (!this.open) return;
    const lost = this.events.state() === 'lost';
    this.guarded(() => this.hearSound());
    this.guarded(() => this.notice.update([...store.alerts.values()]));
    this.guarded(() => this.alerts.draw(only));
    this.guarded(() => this.top.draw(this.events));
    this.guarded(() => this.missed.draw(lost));
    this.guarded(() => this.sessionEnd.draw());
    this.guarded(() => this.pages.count(this.tiles.ruleless()));
    this.guarded(() => this.boards.draw());
    put(this.footer, t('footer'));
    this.drawFault();
  }

  /** In a frame of its own, with what else waits for that; `only` as `drawAlerts` has it. */
  drawAlertsSoon(only = null) {
    const { alertsDue: due } = this;
    this.alertsDue = due && only ? new Set([...due, ...only]) : null;
    clock.turn('alerts', () => {
      const all = this.alertsDue;
      this.alertsDue = new Set();
      this.drawAlerts(all);
    });
  }

  /** What fails is told and stops nothing else. */
  guarded(run) {
    try {
      run();
    } catch (error) {
      this.fault(error);
    }
  }

  drawSoon(all = true) {
    this.allChanged = this.allChanged || all;
    if (this.pending) return;
    this.pending = true;
    clock.after(DRAW_MS, () => {
      const only = this.allChanged ? null : new Set(store.changed);
      this.allChanged = false;
      store.changed.clear();
      this.drawInTurns([
        () => this.guarded(() => this.tiles.draw(only)),
        () => this.guarded(() => this.drawer.draw(only)),
        () => this.drawAlerts(only),
      ]);
    });
  }

  /** Each in a frame of its own; then what changed meanwhile. */
  drawInTurns([draw, ...others]) {
    clock.turn('changed', () => {
      if (!this.open) return;
      draw();
      if (others.length) {
        this.drawInTurns(others);
        return;
      }
      this.pending = false;
      if (this.allChanged || store.changed.size) this.drawSoon(false);
    });
  }

  /** Once a second: ages, the link. The next one is certain before this one does anything. */
  tick() {
    if (!this.open) return;
    clock.after(TICK_MS, () => this.tick());
    this.look();
    // What changes before the next one changes at its limit.
    this.guarded(() => this.tiles.watchLimits());
    const linkMs = untilLinkMs(this.events.oldMs());
    if (linkMs < TICK_MS) clock.after(linkMs, () => this.look());
    this.guarded(() => this.events.watch());
    if (this.events.knowledge() === 'known') this.guarded(() => this.shift.watch());
  }

  watchLoss() {
    if (this.events.state() === 'lost') this.missed.lost(this.events.oldMs());
  }

  /** What becomes older by itself, as it is now. */
  look() {
    if (!this.open) return;
    this.guarded(() => this.watchLoss());
    // What sounds is not left to a timer within a timer: in a tab that was hidden for long those
    // wait for up to a minute.
    this.guarded(() => this.hearSound());
    const turn = (name, draw) => clock.turn(name, () => this.open && this.guarded(draw));
    turn('age', () => this.tiles.age());
    turn('numbers', () => {
      ageNumbers(root);
      this.program.draw();
    });
    turn('drawer', () => this.drawer.draw());
    this.drawAlertsSoon();
  }

  /** Strips move every third frame of a screen; between them the page may rest. */
  sweep() {
    if (!this.open) return;
    clock.after(SWEEP_MS, () => clock.frame(() => this.sweep()));
    for (const strip of this.strips()) this.guarded(() => strip.draw());
  }

  /** The beds, from wherever. */
  home() {
    if (this.drawer.key === null) window.location.hash = '';
    else this.drawer.go(null);
    this.tiles.element.focus();
  }

  switchLanguage() {
    nextLanguage();
    this.drawer.refresh();
    this.draw();
    this.pages.draw();
  }

  /** Other townships are shown. */
  refilter() {
    this.alerts.release();
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === 'Escape') {
      if (this.pages.isOpen()) this.home();
      else if (!this.alerts.escape() && !this.drawer.escape()) this.top.escape();
      return;
    }
    const key = event.key.toLowerCase();
    const isDigit = /^[1-6]$/.test(key);
    // A digit is a reason wherever the focus is in the panel: it would choose another time instead.
    const typing = ['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName)
      && !(isDigit && event.target.matches('form[data-deed] select'));
    // The alerts' keys are the board's.
    if (typing || (this.pages.isOpen() && !['g', 'l', 'm', 'u', '?'].includes(key))) return;
    const actions = {
      j: () => this.alerts.step(1),
      k: () => this.alerts.step(-1),
      a: () => this.alerts.acknowledgeKey(),
      s: () => this.alerts.deedKey('shelve'),
      e: () => this.alerts.deedKey('escalate'),
      f: () => this.top.townships.toggle(),
      g: () => this.home(),
      m: () => this.sound.togglePause(),
      l: () => this.switchLanguage(),
      // A key that is held down takes back one thing.
      u: () => event.repeat || this.undo.takeByKey(),
      '?': () => this.top.toggleHelp(),
    };
    if (actions[key]) actions[key]();
    else if (key === 'enter' && this.alerts.toggleDetail()) event.preventDefault();
    else if (isDigit) this.alerts.reasonKey(Number(key));
    else return;
    if (key !== 'enter') event.preventDefault();
  }
}

function enter(user) {
  store.user = user;
  loadFilter(user.name);
  loadBoardName(user.name);
  if (user.may.includes('see_alerts')) new Board().start();
  else new Office(user, root, () => showLogin(root, enter)).start();
}

/** Begins when the county answers; until then a line of `index.html` says that it does not. */
async function main() {
  try {
    await loadTexts();
    let user = null;
    try {
      user = await api.session();
    } catch (failure) {
      // Nobody is logged in; everything else is no answer.
      if (![401, 403].includes(failure.status)) throw failure;
    }
    if (user) enter(user);
    else showLogin(root, enter);
  } catch (failure) {
    console.warn(failure);
    const waiting = document.getElementById('waiting');
    // Where the board already stands something else is wrong.
    if (!waiting) throw failure;
    document.getElementById('loading').hidden = true;
    waiting.hidden = false;
    clock.after(START_MS, main);
  }
}

applyTheme();
main();
