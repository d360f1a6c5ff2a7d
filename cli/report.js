// Tables are sorted by the column whose head is pressed; what was not measured stays at the end.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const keyOf = (row) => {
        const { order } = row.cells[column].dataset;
        return order === undefined ? row.cells[column].textContent : Number(order);
      };
      const compare = (one, other) => {
        const [a, b] = [keyOf(one), keyOf(other)];
        if ((a === "–") !== (b === "–")) return a === "–" ? 1 : -1;
        const by = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return down ? -by : by;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
