'use strict';

for (const table of document.querySelectorAll('table')) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const number = head.classList.contains('number');
      const before = head.getAttribute('aria-sort');
      const first = number ? 'descending' : 'ascending';
      const second = number ? 'ascending' : 'descending';
      const order = before === first ? second : first;
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', order);
      const sign = order === 'ascending' ? 1 : -1;
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = original.map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (a === '' || b === '') return (a === '') - (b === '');
        return sign * (number ? a - b : a.localeCompare(b));
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

const browse = document.querySelector('.browse');
if (browse) {
  const cards = [...document.querySelectorAll('.probe')];
  const position = browse.querySelector('output');
  const choices = [...browse.querySelectorAll('input')];
  let group = choices.find((choice) => choice.checked).value;
  let at = 0;

  const show = (place) => {
    const shown = cards.filter((card) => card.dataset.group === group);
    at = (place + shown.length) % shown.length;
    cards.forEach((card) => { card.hidden = card !== shown[at]; });
    position.textContent = `${at + 1} of ${shown.length}`;
  };
  browse.querySelector('.previous').addEventListener('click', () => show(at - 1));
  browse.querySelector('.next').addEventListener('click', () => show(at + 1));
  choices.forEach((choice) => choice.addEventListener('change', () => {
    group = choice.value;
    show(0);
  }));
  document.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const modified = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (!step || modified || event.target.closest('input, .scroll')) return;
    event.preventDefault();
    show(at + step);
  });
  browse.hidden = false;
  show(0);
}
