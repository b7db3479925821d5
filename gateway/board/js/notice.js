// A notification of the system, beside the sound and never in its place: for who has another window
// before their eyes. Only after a person asked for it, and without a name: others may see the screen.

import { message } from './alert-words.js';
import { t } from './i18n.js';
import { keep, kept } from './kept.js';
import { Sounding } from './sounding.js';
import { isMoreUrgent } from './order.js';

const KEPT = 'board.notice';
const PRIORITIES = ['high', 'medium'];

export class Notice {
  constructor() {
    this.sounding = new Sounding();
    this.shown = null;
  }

  /** `none` where the browser has none, `denied`, `on`, `off`. */
  state() {
    if (typeof Notification === 'undefined') return 'none';
    if (Notification.permission === 'denied') return 'denied';
    const wanted = kept(KEPT) === 'on';
    return wanted && Notification.permission === 'granted' ? 'on' : 'off';
  }

  /** A person wants it, or wants it no more. */
  async toggle() {
    const turnsOn = this.state() === 'off';
    keep(KEPT, turnsOn ? 'on' : 'off');
    if (turnsOn) await Notification.requestPermission();
  }

  /** What is open now; tells of what is new where nobody looks at the page. */
  update(alerts) {
    const urgent = alerts.filter(({ priority }) => PRIORITIES.includes(priority));
    const { sounding: waiting, fresh } = this.sounding.update(urgent);
    if (!waiting.length) this.close();
    if (!fresh.length || this.state() !== 'on' || document.hasFocus()) return;
    this.show(fresh.reduce((a, b) => (isMoreUrgent(b.priority, a.priority) ? b : a)));
  }

  show(alert) {
    this.close();
    try {
      this.shown = new Notification(t('notice.title', { priority: t(`priority.${alert.priority}`) }), {
        body: [message(alert), alert.clinic || alert.site].join(' · '), tag: 'board',
      });
      this.shown.onclick = () => window.focus();
    } catch (error) {
      // Phones have it for other programs only.
      keep(KEPT, 'off');
    }
  }

  close() {
    if (this.shown) this.shown.close();
    this.shown = null;
  }
}
