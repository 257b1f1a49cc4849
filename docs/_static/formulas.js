// Renders every formula of the page. Deferred scripts run in their order, so that KaTeX is there.
for (const formula of document.querySelectorAll(".math")) {
  katex.render(formula.textContent, formula, {
    displayMode: formula.parentElement.classList.contains("math-block"),
    throwOnError: false,
  });
}
