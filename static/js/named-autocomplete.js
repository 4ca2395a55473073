// Select2 gives the box that shows what is chosen the role of a text box, and no name. Its select has a label.
"use strict";
django.jQuery(() => { // after Django's own autocomplete.js, which has asked for this moment before
  for (const box of document.querySelectorAll("select.admin-autocomplete + .select2 [role=textbox]")) {
    const select = box.closest(".select2").previousElementSibling;
    box.setAttribute("aria-label", select.labels[0]?.textContent.trim() ?? "");
  }
});
