// When the sale opens and ends. It counts on the server's clock: the page says in how many seconds, and the device
// only measures how much time has passed.
"use strict";

(() => {
  const HOUR = 3600; // browsers cannot wait longer than 24.8 days at once
  const seconds = () => performance.now() / 1000;

  let opensAt = null; // by `seconds()`; null if it will not
  let endsAt = null;
  let before = 0; // seconds to the opening at the last look
  let timer = 0;
  let clocks = 0;

  // If a device sleeps, its two clocks go apart on some systems; if somebody sets its clock, on all.
  const apart = () => Math.abs(Date.now() - performance.now() - clocks) > 2000;

  function begin() {
    const at = (left) => (left ? seconds() + Number(left) : null);
    const { opensIn, endsIn } = Sale.page().dataset;
    [opensAt, endsAt, clocks, before] = [at(opensIn), at(endsIn), Date.now() - performance.now(), 0];
    look();
  }

  function look() {
    clearTimeout(timer);
    if (apart()) return Sale.renew(); // and then it begins anew
    if (opensAt !== null) return wait(opensAt - seconds());
    open();
    if (endsAt === null) return;
    // Thousands of pages wait for the end, so they do not all ask in the same moment.
    const left = endsAt - seconds();
    if (left > 0) timer = setTimeout(look, Math.min(left + 0.3 + Math.random() * 1.7, HOUR) * 1000);
    else timer = setTimeout(Sale.renew, 300);
  }

  function wait(left) {
    if (left <= 0) {
      opensAt = null;
      return look();
    }
    const slot = Sale.form()?.querySelector("[data-countdown]");
    if (slot) slot.textContent = slot.dataset.countdown.replace("{}", inWords(left));
    if (before > 60 && left <= 60) Sale.say(Sale.words.inOne);
    else if (before > 300 && left <= 300) Sale.say(Sale.words.inFive);
    before = left;
    timer = setTimeout(look, (left > HOUR ? 60 : Math.min(left, left % 1 || 1)) * 1000);
  }

  function inWords(left) {
    const all = Math.ceil(left);
    const [days, hours, minutes] = [Math.floor(all / 86400), Math.floor(all / HOUR) % 24, Math.floor(all / 60) % 60];
    if (days) return `${days} d ${hours} h`;
    if (hours) return `${hours} h ${minutes} min`;
    return `${minutes}:${String(all % 60).padStart(2, "0")}`;
  }

  // Nothing is fetched: the form has been there all the time, and the server decides by its own clock anyway.
  function open() {
    Sale.page().dataset.opensIn = "";
    const button = Sale.form()?.querySelector("[data-then]");
    if (!button) return;
    put(Sale.page().querySelector("[data-notice]"), Sale.words.open);
    put(button, button.dataset.then);
    button.closest("form").querySelector("[data-countdown]").textContent = "";
    button.removeAttribute("data-then");
    button.disabled = false;
    Sale.say(Sale.words.open);
    document.dispatchEvent(new Event("sale:opened"));
  }

  function put(place, text) {
    if (!place) return;
    place.style.minHeight = `${place.offsetHeight}px`; // so that nothing moves
    place.textContent = text;
  }

  document.addEventListener("sale:drawn", begin);
  addEventListener("pageshow", (event) => event.persisted && look());
  document.addEventListener("visibilitychange", () => document.hidden || look());
  begin();
  // "Back" may show a page from the browser's cache, whose seconds are too many.
  if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") Sale.renew();
})();
