// The choice on the page of a concert: what it costs, and no more tickets than one can have.
"use strict";

(() => {
  function look() {
    const form = Sale.form();
    if (!form) return;
    for (const tier of form.querySelectorAll("[data-tier]")) {
      const gone = tier.dataset.left === "0" || tier.dataset.mayHave === "0";
      const radio = tier.querySelector("[name=tier]");
      tier.classList.toggle("tier-gone", gone);
      radio.disabled = gone && !radio.checked; // what is chosen stays chosen
    }
    const tier = form.querySelector("[name=tier]:checked")?.closest("[data-tier]");
    const most = tier ? mostOf(tier) : Infinity;
    for (const chip of form.querySelectorAll("[name=quantity]")) {
      chip.disabled = Number(chip.value) > most && !chip.checked;
    }
    const quantity = Number(form.querySelector("[name=quantity]:checked")?.value ?? 0);
    const total = form.querySelector("[data-total]");
    total.hidden = false;
    total.querySelector("output").textContent = words(total.dataset, tier, quantity, most);
  }

  function mostOf(tier) {
    const { left, mayHave } = tier.dataset;
    return Math.min(Number(left) || Infinity, mayHave ? Number(mayHave) : Infinity);
  }

  function words(says, tier, quantity, most) {
    if (!tier) return says.choose;
    if (quantity > most) return says.most.replace("{}", most);
    return inMoney(says, tier.dataset.price, quantity);
  }

  // As the templates write it: "$0.00" shows where the sign stands, and the price how many decimals there are.
  function inMoney({ money, free }, price, quantity) {
    const decimals = price.split(".")[1]?.length ?? 0;
    const amount = (Math.round(Number(price) * 10 ** decimals) * quantity) / 10 ** decimals;
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    return amount ? money.replace(/0(\.0+)?$/, amount.toLocaleString("en-US", digits)) : free;
  }

  document.addEventListener("change", look);
  document.addEventListener("sale:left", look);
  document.addEventListener("sale:drawn", look);
  addEventListener("pageshow", look); // a browser may put an earlier choice back
  look();
})();
