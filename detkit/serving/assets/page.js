'use strict';
// The page of the server: sends a picture, and draws what is found. Everything that comes from the server is put into
// the page as text or pixels, never as markup.

const LEAST = 0.05; // results from here on are fetched; the slider chooses among them
const MAX_SIDE = 1600; // of the canvas, in pixels
const byId = (id) => document.getElementById(id);
const state = { info: null, token: '', file: null, picture: null, result: null, masks: [], marked: -1, number: 0 };

function say(text, bad = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('bad', bad);
}

// Golden-ratio steps around the colour wheel keep neighbours apart.
const hue = (number) => (number * 222.5 + 205) % 360;
const colour = (number, alpha = 1) => `hsla(${hue(number)}, 75%, 45%, ${alpha})`;
const textOn = (number) => (hue(number) > 40 && hue(number) < 195 ? '#111' : '#fff'); // yellow to cyan are light

async function ask(path, options = {}) {
  const headers = { Accept: 'application/json', ...(options.headers || {}) };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  const answer = await fetch(path, { ...options, headers });
  let content = {};
  try { content = await answer.json(); } catch (error) { content = { error: `the answer is no JSON (${error.message})` }; }
  if (answer.status === 401) byId('token-form').hidden = false;
  if (!answer.ok) throw new Error(content.error || `status ${answer.status}`);
  return content;
}

async function start() {
  try {
    state.info = await ask('info');
  } catch (error) {
    say(error.message, true);
    return;
  }
  byId('token-form').hidden = true;
  const { model, task, classes, licence, limits } = state.info;
  byId('title').textContent = model || 'detkit';
  document.title = `${model || 'model'} - detkit`;
  byId('about').textContent = `${task}, ${classes.length} classes; pictures of up to ` +
    `${Math.floor(limits.max_bytes / 1e6)} MB${licence ? `; weights: ${licence}` : ''}`;
  setThreshold(Math.max(LEAST, state.info.thresholds.score_thr));
  say('');
}

function setThreshold(value) {
  byId('threshold').value = value;
  byId('threshold-value').textContent = Number(byId('threshold').value).toFixed(2);
}

async function open(file) {
  const number = ++state.number;
  state.file = file;
  say(`${file.name}: …`);
  const form = new FormData();
  form.append('file', file, file.name);
  try {
    if (!state.info) await start();
    if (file.size > state.info.limits.max_bytes) throw new Error('the picture is larger than this server takes');
    const began = performance.now();
    const [content, picture] = await Promise.all([
      ask(`predict?score_thr=${LEAST}`, { method: 'POST', body: form }),
      createImageBitmap(file).catch(() => null), // a kind that browsers do not show, such as TIFF
    ]);
    if (number !== state.number) return; // another picture was opened meanwhile
    const seconds = ((performance.now() - began) / 1000).toFixed(2);
    state.result = content.results[0];
    state.picture = picture;
    layOut();
    say(`${file.name}: ${state.result.img_shape[1]} × ${state.result.img_shape[0]} pixels, ${seconds}\u00a0s`);
    byId('found').hidden = false;
    show();
  } catch (error) {
    if (number === state.number) {
      byId('found').hidden = true;
      say(`${file.name}: ${error.message}`, true);
    }
  }
}

// Size the canvas, and bring the masks to its resolution.
function layOut() {
  const [height, width] = state.result.img_shape;
  const scale = Math.min(1, MAX_SIDE / Math.max(height, width));
  const canvas = byId('canvas');
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  state.marked = -1;
  state.masks = state.result.objects.map((object) =>
    object.segmentation ? scaleMask(object.segmentation, object.bbox, canvas, width, height) : null);
}

// COCO's compressed run lengths: numbers of 5 bits a character, from the third on as differences to the last but one.
function runLengths(text) {
  const runs = [];
  for (let i = 0; i < text.length;) {
    let value = 0, shift = 0, bits;
    do {
      bits = text.charCodeAt(i++) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16 && shift < 32) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

// Return the pixels of the canvas in a mask, as the left end, the row and the length of horizontal runs.
function scaleMask({ size: [rows, columns], counts }, bbox, canvas, width, height) {
  const full = new Uint8Array(rows * columns); // column by column
  let position = 0;
  runLengths(counts).forEach((length, index) => {
    if (index % 2) full.fill(1, position, position + length);
    position += length;
  });
  const x0 = Math.max(0, Math.floor(bbox[0] / width * canvas.width) - 1);
  const y0 = Math.max(0, Math.floor(bbox[1] / height * canvas.height) - 1);
  const x1 = Math.min(canvas.width, Math.ceil(bbox[2] / width * canvas.width) + 1);
  const y1 = Math.min(canvas.height, Math.ceil(bbox[3] / height * canvas.height) + 1);
  const spans = [];
  for (let y = y0; y < y1; y++) {
    const row = Math.min(rows - 1, Math.floor((y + 0.5) / canvas.height * rows));
    let began = -1;
    for (let x = x0; x <= x1; x++) {
      const column = Math.floor((x + 0.5) / canvas.width * columns);
      const inside = x < x1 && full[Math.min(columns - 1, column) * rows + row];
      if (inside && began < 0) began = x;
      if (!inside && began >= 0) {
        spans.push(began, y, x - began);
        began = -1;
      }
    }
  }
  return spans;
}

function show() {
  const least = Number(byId('threshold').value);
  const classified = state.info.task === 'cls';
  const chosen = state.result.objects.map((object, index) => ({ object, index }))
    .filter(({ object }, place) => object.score >= least || (classified && place === 0));
  draw(chosen, classified);
  list(chosen, classified);
}

function draw(chosen, classified) {
  const canvas = byId('canvas'), context = canvas.getContext('2d');
  const [height, width] = state.result.img_shape;
  const sx = canvas.width / width, sy = canvas.height / height;
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (state.picture) context.drawImage(state.picture, 0, 0, canvas.width, canvas.height);
  if (classified) return;
  const line = Math.max(2, Math.round(Math.max(canvas.width, canvas.height) / 400));
  context.lineJoin = 'round';
  const shown = chosen.map(({ object, index }) => ({ object, index, tint: tintOf(object, index) }))
    .reverse(); // the best last, on top
  for (const { index, tint } of shown) {
    const spans = state.masks[index] || [];
    context.fillStyle = colour(tint, index === state.marked ? 0.7 : 0.42);
    for (let i = 0; i < spans.length; i += 3) context.fillRect(spans[i], spans[i + 1], spans[i + 2], 1);
  }
  for (const { object, index, tint } of shown) {
    const [x0, y0, x1, y1] = object.bbox;
    context.lineWidth = index === state.marked ? 2 * line : line;
    context.strokeStyle = colour(tint);
    if (object.corners) polygon(context, object.corners, sx, sy);
    else context.strokeRect(x0 * sx, y0 * sy, (x1 - x0) * sx, (y1 - y0) * sy);
    if (object.keypoints) joints(context, object.keypoints, sx, sy, line, tint);
  }
  if (!byId('labels').checked) return;
  for (const { object, tint } of shown) label(context, object, object.bbox[0] * sx, object.bbox[1] * sy, tint, canvas);
}

// Masks and keypoints are coloured by object, boxes alone by class.
function tintOf(object, index) {
  return state.masks[index] || object.keypoints ? index : object.label;
}

function polygon(context, corners, sx, sy) {
  context.beginPath();
  for (let i = 0; i < corners.length; i += 2) context.lineTo(corners[i] * sx, corners[i + 1] * sy);
  context.closePath();
  context.stroke();
}

function joints(context, points, sx, sy, line, tint) {
  const seen = (i) => points[i] && points[i][2] >= 0.5;
  context.strokeStyle = colour(tint, 0.9);
  for (const [from, to] of state.info.skeleton) {
    if (!seen(from) || !seen(to)) continue;
    context.beginPath();
    context.moveTo(points[from][0] * sx, points[from][1] * sy);
    context.lineTo(points[to][0] * sx, points[to][1] * sy);
    context.stroke();
  }
  context.fillStyle = '#fff';
  points.forEach(([x, y], i) => {
    if (!seen(i)) return;
    context.beginPath();
    context.arc(x * sx, y * sy, 1.3 * line, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  });
}

function label(context, object, x, y, tint, canvas) {
  const size = Math.max(12, Math.round(Math.max(canvas.width, canvas.height) / 55));
  context.font = `${size}px system-ui, sans-serif`;
  const text = `${object.name} ${object.score.toFixed(2)}`;
  const width = context.measureText(text).width + size / 2, height = 1.35 * size;
  const left = Math.max(0, Math.min(x, canvas.width - width)), top = y - height < 0 ? Math.max(0, y) : y - height;
  context.fillStyle = colour(tint);
  context.fillRect(left, top, width, height);
  context.fillStyle = textOn(tint);
  context.textBaseline = 'middle';
  context.fillText(text, left + size / 4, top + height / 2);
}

function list(chosen, classified) {
  const rows = chosen.map(({ object, index }) => {
    const row = document.createElement('tr');
    const name = row.insertCell(), swatch = document.createElement('span');
    swatch.className = 'swatch';
    swatch.style.background = colour(tintOf(object, index));
    if (!classified) name.append(swatch);
    name.append(object.name);
    row.insertCell().textContent = object.score.toFixed(3);
    if (!classified) row.insertCell().textContent = object.bbox.map((value) => Math.round(value)).join(', ');
    row.addEventListener('pointerenter', () => mark(index));
    row.addEventListener('pointerleave', () => mark(-1));
    return row;
  });
  byId('rows').replaceChildren(...rows);
  byId('where').hidden = byId('labels').parentElement.hidden = classified;
  const noun = classified ? ['class', 'classes'] : ['object', 'objects'];
  byId('count').textContent = `${chosen.length} ${noun[chosen.length === 1 ? 0 : 1]} of ${state.result.objects.length}`;
}

function mark(index) {
  state.marked = index;
  show();
  state.marked = -1;
}

byId('file').addEventListener('change', (event) => {
  if (event.target.files[0]) open(event.target.files[0]);
  event.target.value = ''; // so that the same picture can be chosen again
});
for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // a picture that misses the field must not replace the page
    byId('drop').classList.toggle('over', kind === 'dragover');
    if (kind === 'drop' && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
}
document.addEventListener('paste', (event) => {
  if (event.clipboardData && event.clipboardData.files[0]) open(event.clipboardData.files[0]);
});
byId('threshold').addEventListener('input', () => {
  setThreshold(byId('threshold').value);
  if (state.result) show();
});
byId('labels').addEventListener('change', () => state.result && show());
byId('token-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  state.token = byId('token').value.trim();
  await start();
  if (state.info && state.file) open(state.file);
});
start();
