document.querySelectorAll('thead button').forEach(button => button.addEventListener('click', () => {
  const head = button.parentElement, body = head.closest('table').tBodies[0];
  const place = Array.from(head.parentElement.children).indexOf(head);
  // The first click puts the largest number or the first word on top.
  const sorted = head.getAttribute('aria-sort'), numbers = !head.classList.contains('text');
  const down = sorted ? sorted === 'ascending' : numbers;
  head.parentElement.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const value = row => { const v = row.children[place].dataset.value; return numbers ? parseFloat(v) : v; };
  const rows = Array.from(body.rows), sign = down ? -1 : 1;
  rows.sort((a, b) => {
    const x = value(a), y = value(b);
    if (numbers && (isNaN(x) || isNaN(y))) return isNaN(x) - isNaN(y);  // what has no value stays at the end
    return sign * (numbers ? x - y : x.localeCompare(y));
  });
  rows.forEach(row => body.appendChild(row));
}));
