(() => {
  for (const root of document.querySelectorAll(".graceline:not(.js)")) {
    root.classList.add("js");
    for (const grid of root.querySelectorAll("[role=treegrid]")) {
      const rows = [...grid.querySelectorAll("tbody tr")];
      const shown = () => rows.filter((row) => row.offsetParent !== null);
      const headOf = (row) => row.parentElement.firstElementChild;
      const fold = (head, folded) => {
        if (!head.hasAttribute("aria-expanded")) return;
        head.parentElement.classList.toggle("folded", folded);
        for (const part of [head, head.querySelector("button")]) {
          part.setAttribute("aria-expanded", String(!folded));
        }
      };
      const go = (row) => {
        if (!row) return;
        for (const other of rows) other.tabIndex = -1;
        row.tabIndex = 0;
        row.focus();
      };
      rows.forEach((row, index) => { row.tabIndex = index ? -1 : 0; });
      for (const body of grid.querySelectorAll("tbody[data-folded]")) {
        fold(body.firstElementChild, true);
      }
      grid.addEventListener("click", (event) => {
        const row = event.target.closest("tbody tr");
        if (!row) return;
        if (event.target.closest("button")) {
          fold(row, row.getAttribute("aria-expanded") === "true");
        }
      });
      grid.addEventListener("keydown", (event) => {
        const row = event.target.closest("tbody tr");
        if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
        const visible = shown();
        const at = visible.indexOf(row);
        const open = row.getAttribute("aria-expanded");
        const onButton = event.target !== row;
        const acts = {
          ArrowDown: () => go(visible[at + 1]),
          ArrowUp: () => go(visible[at - 1]),
          Home: () => go(visible[0]),
          End: () => go(visible[visible.length - 1]),
          ArrowRight: () => (open === "false" ? fold(row, false) : go(visible[at + 1])),
          ArrowLeft: () => (open === "true" ? fold(row, true) : go(headOf(row))),
          Enter: () => fold(row, open === "true"),
          " ": () => fold(row, open === "true"),
        };
        if (!acts[event.key] || (onButton && (event.key === "Enter" || event.key === " "))) return;
        event.preventDefault();
        acts[event.key]();
      });
    }
  }
})();
