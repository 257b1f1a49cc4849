// Renders every formula of the page; a scripts' order is kept, so that KaTeX is there.
for (const formula of document.querySelectorAll(".math")) {
  katex.render(formula.textContent, formula, {
    displayMode: formula.parentElement.classList.contains("math-block"),
    throwOnError: false,
  });
}
