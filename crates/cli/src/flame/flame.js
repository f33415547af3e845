(() => {
  'use strict';
  const NS = 'http://www.w3.org/2000/svg', XHTML = 'http://www.w3.org/1999/xhtml';
  const svg = (document.currentScript && document.currentScript.ownerSVGElement) || document.documentElement;
  const $ = id => svg.querySelector('#' + id);
  const make = (tag, attributes, parent) => {
    const element = document.createElementNS(NS, tag);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (parent) parent.appendChild(element);
    return element;
  };

  // ---- Data: six numbers per frame, in depth-first order.
  const { frames, names, files, head, foot, row, pad, groups } = DATA;
  const n = frames.length / 6;
  const depth = new Uint32Array(n), name = new Int32Array(n), parent = new Int32Array(n), end = new Uint32Array(n);
  const total = new Float64Array(n), self = new Float64Array(n), calls = new Float64Array(n), start = new Float64Array(n), inferred = new Float64Array(n);
  {
    const open = [], cursor = [0];
    for (let i = 0; i < n; i++) {
      const d = depth[i] = frames[i * 6];
      name[i] = frames[i * 6 + 1]; total[i] = frames[i * 6 + 2]; self[i] = frames[i * 6 + 3]; calls[i] = frames[i * 6 + 4]; inferred[i] = frames[i * 6 + 5];
      while (open.length > d) end[open.pop()] = i;
      parent[i] = d ? open[d - 1] : -1;
      start[i] = cursor[d]; cursor[d] += total[i]; cursor[d + 1] = start[i];
      open[d] = i;
    }
    while (open.length) end[open.pop()] = n;
  }
  const within = (i, root) => i >= root && i < end[root];

  // ---- Text.
  const probe = make('text', { visibility: 'hidden' }, svg);
  probe.textContent = 'm'.repeat(50);
  const charWidth = probe.getComputedTextLength() / 50 || 7.2;
  probe.remove();
  const grouped = x => String(Math.round(x)).replace(/\B(?=(\d{3})+$)/g, '\u2009');
  const time = ns => {
    if (ns < 1000) return Math.round(ns) + ' ns';
    let unit = 1e3, label = 'µs';
    for (const [u, l] of [[1e6, 'ms'], [1e9, 's']]) if (ns >= u * 0.9995) { unit = u; label = l; }
    const v = ns / unit;
    return v.toFixed(v < 9.995 ? 2 : v < 99.95 ? 1 : 0) + ' ' + label;
  };
  const percent = (part, whole) => {
    const p = whole ? part * 100 / whole : 0;
    return p > 0 && p < 0.05 ? '<0.1 %' : p.toFixed(1) + ' %';
  };
  // Shorter and shorter: without parameters and generics, without leading path segments, cut.
  const fit = (entry, room) => {
    if (room < 2) return '';
    let text = entry[0];
    if (text.length <= room) return text;
    text = entry[3] || text;
    for (let at; text.length > room && (at = nextSegment(text)) > 0;) text = text.slice(at);
    return text.length <= room ? text : room < 3 ? '' : text.slice(0, room - 1) + '…';
  };
  const nextSegment = text => {
    for (let at = 0, level = 0; at < text.length; at++) {
      const c = text[at];
      if ('<({['.includes(c)) level++;
      else if ('>)}]'.includes(c)) level--;
      else if (c === ':' && !level && text[at + 1] === ':') return at + 2;
    }
    return 0;
  };

  // ---- State.
  const alone = svg === document.documentElement;
  let outer = 1200, width = outer - 2 * pad, zoomed = 0, inverted = false, at = -1, pattern = null, view = { x: 0, w: total[0] || 1 }, animation = 0;
  let levels = 0, height = 0;
  const layer = $('frames'), headGroup = $('head'), pool = [];
  layer.textContent = '';
  svg.removeAttribute('width');
  svg.style.width = '100%';
  svg.style.display = 'block';

  // ---- Drawing.
  // Rows that a view needs. The picture grows with it and never shrinks, so rows stay put.
  const fitHeight = (root, span) => {
    let deepest = depth[root];
    for (let i = root; i < end[root];) {
      if (total[i] / span * width < 0.35 && i !== root) { i = end[i]; continue; }
      if (depth[i] > deepest) deepest = depth[i];
      i++;
    }
    if (deepest + 1 <= levels) return;
    const grown = (deepest + 1 - levels) * row, first = !levels;
    levels = deepest + 1;
    height = head + levels * row + foot;
    svg.setAttribute('height', height);
    svg.setAttribute('viewBox', `0 0 ${outer} ${height}`);
    $('bg').setAttribute('height', height);
    $('hint').setAttribute('y', height - 9);
    if (!first && !inverted && alone) window.scrollBy(0, grown);
  };
  const y = d => inverted ? head + d * row : height - foot - (d + 1) * row;
  const draw = () => {
    let used = 0;
    const put = (i, x, w) => {
      let item = pool[used];
      if (!item) {
        const g = make('g', { class: 'frame' }, layer);
        item = pool[used] = { g, rect: make('rect', { height: row - 1 }, g), text: make('text', {}, g), kind: '' };
      }
      used++;
      const { g, rect, text } = item, entry = names[name[i]], top = y(depth[i]);
      g.frame = i;
      const hit = pattern && name[i] >= 0 && pattern.test(entry[0]);
      const kind = 'frame' + (pattern ? hit ? ' hit' : ' faint' : '') + (i !== zoomed && depth[i] < depth[zoomed] ? ' above' : '') + (i === at ? ' at' : '');
      if (item.kind !== kind) g.setAttribute('class', item.kind = kind);
      g.style.display = '';
      rect.setAttribute('class', entry[2] < 0 ? 'group' : 'c' + entry[2]);
      x += pad;
      rect.setAttribute('x', x.toFixed(2)); rect.setAttribute('y', top);
      rect.setAttribute('width', Math.max(w - (w > 3 ? 1 : w > 1 ? 0.4 : 0), 0.3).toFixed(2));
      const mark = inferred[i] * 20 >= (calls[i] || 1) ? '~' : '', short = fit(entry, Math.floor((w - 8) / charWidth) - mark.length), label = short && mark + short;
      if (text.textContent !== label) text.textContent = label;
      if (label) { text.setAttribute('x', (x + 4).toFixed(2)); text.setAttribute('y', top + row - 6); }
    };
    for (let i = parent[zoomed], up = []; ; i = parent[i]) {
      if (i < 0) { up.reverse().forEach(a => put(a, 0, width)); break; }
      up.push(i);
    }
    const scale = width / view.w;
    for (let i = zoomed; i < end[zoomed];) {
      const x = (start[i] - view.x) * scale, w = total[i] * scale;
      if (w < 0.35 || x > width || x + w < 0) { i = i === zoomed ? i + 1 : end[i]; continue; }
      const left = Math.max(x, 0);
      put(i, left, Math.min(x + w, width) - left);
      i++;
    }
    for (let k = used; k < pool.length; k++) pool[k].g.style.display = 'none';
  };
  const resize = () => {
    outer = Math.max(svg.clientWidth || svg.getBoundingClientRect().width || 1200, 320);
    width = outer - 2 * pad;
    fitHeight(zoomed, view.w);
    svg.setAttribute('viewBox', `0 0 ${outer} ${height}`);
    for (const id of ['bg', 'headbg']) $(id).setAttribute('width', outer);
    box.setAttribute('x', outer - pad - 220);
    $('matched').setAttribute('x', outer - pad);
    resetButton.setAttribute('transform', `translate(${outer - pad - 314} 12)`);
    draw();
    follow();
  };
  // The head stays in sight while a tall graph is scrolled.
  const follow = () => {
    const top = alone ? window.scrollY : Math.max(0, -svg.getBoundingClientRect().top);
    headGroup.setAttribute('transform', `translate(0 ${top})`);
  };

  // ---- Zoom.
  const zoom = i => {
    const from = { ...view }, to = { x: start[i], w: total[i] || 1 };
    // Zooming out keeps the larger root while the view moves, so that nothing is missing.
    zoomed = within(zoomed, i) ? i : within(i, zoomed) ? zoomed : 0;
    fitHeight(i, to.w);
    cancelAnimationFrame(animation);
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches || document.hidden;
    const began = performance.now(), length = still ? 0 : 240;
    const step = now => {
      const t = length ? Math.min((now - began) / length, 1) : 1, e = t < 0 ? 0 : 1 - (1 - t) ** 3;
      view = { x: from.x + (to.x - from.x) * e, w: Math.exp(Math.log(from.w || 1) * (1 - e) + Math.log(to.w) * e) };
      if (t >= 1) { view = to; zoomed = i; }
      draw();
      if (t < 1) animation = requestAnimationFrame(step);
    };
    step(began);
    resetButton.style.display = i ? '' : 'none';
    count();
  };

  // ---- Details.
  const card = make('g', { id: 'card', visibility: 'hidden' }, svg);
  const cardBox = make('rect', {}, card), cardText = make('text', {}, card);
  const wrap = (text, room) => {
    const lines = [];
    while (text.length > room && lines.length < 3) {
      let cut = room;
      for (const c of ['::', ', ', ' ']) { const p = text.lastIndexOf(c, room); if (p > room / 2) { cut = p; break; } }
      lines.push(text.slice(0, cut)); text = text.slice(cut);
    }
    lines.push(lines.length === 3 && text.length > room ? text.slice(0, room - 1) + '…' : text);
    return lines;
  };
  const show = (i, px, py) => {
    const entry = names[name[i]], lines = wrap(entry[0], 72).map(t => ['name', t]);
    if (entry[1] >= 0) lines.push(['dim', wrap(files[entry[1]], 72)[0]]);
    let thread = i;
    while (groups && depth[thread] > 1) thread = parent[thread];
    const shares = t => percent(t, total[0]) + ' of all' + (groups && depth[i] > 1 ? ', ' + percent(t, total[thread]) + ' of its thread' : '');
    lines.push(['', 'total  ' + time(total[i]).padEnd(9) + '  ' + shares(total[i])]);
    if (entry[1] >= 0) {
      lines.push(['', 'self   ' + time(self[i]).padEnd(9) + '  ' + shares(self[i])]);
      lines.push(['', 'calls  ' + grouped(calls[i]).padEnd(9) + '  ' + time(total[i] / (calls[i] || 1)) + ' each']);
    }
    if (inferred[i]) lines.push(['dim', '~ ' + grouped(inferred[i]) + ' of ' + grouped(calls[i]) + ' exits inferred: times are estimates']);
    cardText.textContent = '';
    lines.forEach(([kind, text], k) => {
      const line = make('tspan', { x: 10, y: 19 + k * 17, class: kind, 'xml:space': 'preserve' }, cardText);
      line.textContent = text.replace(/ {2,}/g, s => '\u00a0'.repeat(s.length));
    });
    const w = Math.max(...lines.map(l => l[1].length)) * charWidth * 1.02 + 22, h = lines.length * 17 + 12;
    cardBox.setAttribute('width', w); cardBox.setAttribute('height', h);
    const frame = svg.getBoundingClientRect();
    let x = px + 14, top = py + 16;
    if (x + w > outer - 6) x = Math.max(6, px - w - 10);
    if (top + h > Math.min(height, window.innerHeight - frame.top) - 6) top = py - h - 10;
    top = Math.max(top, Math.max(0, -frame.top) + 4);
    card.setAttribute('transform', `translate(${x.toFixed(1)} ${top.toFixed(1)})`);
    card.setAttribute('visibility', 'visible');
  };
  const hide = () => card.setAttribute('visibility', 'hidden');
  const frameOf = event => {
    const g = event.target.closest && event.target.closest('.frame');
    return g && g.frame !== undefined ? g.frame : -1;
  };
  layer.addEventListener('mousemove', event => {
    const i = frameOf(event);
    if (i < 0) return hide();
    const origin = svg.getBoundingClientRect();
    show(i, event.clientX - origin.left, event.clientY - origin.top);
  });
  layer.addEventListener('mouseleave', hide);
  layer.addEventListener('click', event => {
    const i = frameOf(event);
    if (i < 0) return;
    at = -1;
    hide();
    zoom(i === zoomed ? Math.max(parent[i], 0) : i);
  });

  // ---- Head: search, reset.
  const resetButton = make('g', { class: 'button', style: 'display:none' }, headGroup);
  make('rect', { width: 84, height: 26 }, resetButton);
  make('text', { x: 42, y: 17 }, resetButton).textContent = 'reset zoom';
  resetButton.addEventListener('click', () => zoom(0));
  make('text', { id: 'matched', y: 56 }, headGroup);
  const box = make('foreignObject', { y: 12, width: 220, height: 30 }, headGroup);
  const input = document.createElementNS(XHTML, 'input');
  input.id = 'search';
  input.setAttribute('placeholder', 'search (regular expression)   /');
  input.setAttribute('spellcheck', 'false');
  input.setAttribute('aria-label', 'search');
  box.appendChild(input);
  // Time below matching frames, without counting a match inside a match twice.
  const count = () => {
    let sum = 0, hits = 0;
    if (pattern) for (let i = zoomed; i < end[zoomed];) {
      if (pattern.test(names[name[i]][0])) { sum += total[i]; hits++; i = end[i]; } else i++;
    }
    $('matched').textContent = pattern ? hits ? `${percent(sum, total[zoomed])} matched` : 'no match' : '';
  };
  const search = text => {
    input.classList.remove('bad');
    pattern = null;
    if (text) {
      try { pattern = new RegExp(text, /[A-Z]/.test(text) ? '' : 'i'); } catch { input.classList.add('bad'); }
    }
    count();
    draw();
  };
  input.addEventListener('input', () => search(input.value));

  // ---- Keys.
  const select = i => {
    if (i < 0 || i >= n) return;
    at = i;
    draw();
    const scale = width / view.w, x = depth[i] < depth[zoomed] ? 0 : (start[i] - view.x) * scale;
    show(i, Math.max(0, x) + pad + 10, y(depth[i]) + row / 2);
  };
  const sibling = (i, step) => {
    if (i <= 0) return i;
    if (step > 0) return end[i] < end[parent[i]] ? end[i] : i;
    let k = parent[i] + 1;
    while (end[k] < i) k = end[k];
    return k < i ? k : i;
  };
  window.addEventListener('keydown', event => {
    const typing = document.activeElement === input;
    const find = event.key === 'f' && (event.ctrlKey || event.metaKey);
    // A second Ctrl-F is the browser's own.
    if ((find || event.key === '/') && !typing) { input.focus(); input.select(); return event.preventDefault(); }
    if (event.key === 'Escape') {
      if (typing || pattern) { input.value = ''; search(''); input.blur(); } else { at = -1; hide(); zoom(0); }
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = at < 0 ? zoomed : at;
    const child = here + 1 < end[here] ? here + 1 : here;
    const keys = {
      ArrowUp: () => select(inverted ? Math.max(parent[here], 0) : child),
      ArrowDown: () => select(inverted ? child : Math.max(parent[here], 0)),
      ArrowLeft: () => select(sibling(here, -1)),
      ArrowRight: () => select(sibling(here, 1)),
      Enter: () => { hide(); zoom(here); },
      Backspace: () => { hide(); zoom(Math.max(parent[zoomed], 0)); },
      i: () => { inverted = !inverted; hide(); draw(); window.scrollTo(0, inverted ? 0 : height); },
      r: () => { at = -1; hide(); zoom(0); },
    };
    if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
  });

  $('hint').textContent = 'click: zoom  ·  /: search  ·  arrows, Enter, Backspace: move, zoom, out  ·  i: upside down  ·  Esc: reset';
  window.addEventListener('resize', resize);
  window.addEventListener('scroll', follow, { passive: true });
  resize();
  if (alone) window.scrollTo(0, height);
})();
