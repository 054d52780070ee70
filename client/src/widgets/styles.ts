const CSS = `
:host {
  display: inline-block;
  min-inline-size: var(--live-width, 0);
  min-block-size: 1lh;
  color: var(--live-color, inherit);
  font-size: var(--live-size, inherit);
  font-variant-numeric: tabular-nums;
  white-space: nowrap;
  --accent: var(--live-accent, light-dark(#c2185b, #ff7aa2));
}
:host(:not([data-count])) { min-inline-size: var(--live-width, 2ch) }
:host([hidden]), [hidden] { display: none }
[part=number] { unicode-bidi: plaintext }
.exact, [role=status] {
  display: inline-block;
  inline-size: 1px;
  block-size: 1px;
  margin-inline-end: -1px;
  overflow: clip;
  vertical-align: top;
  color: transparent;
  user-select: none;
}
bdi { display: inline-block }
.rolling { overflow: clip }
.up, .down { display: inline-block; position: relative; min-inline-size: 1ch }
.up::before, .down::before { content: attr(data-was) / ''; position: absolute; inset-inline-start: 0 }
.up::before { inset-block-end: 100% }
.down::before { inset-block-start: 100% }
[part=dot], [part=label]::before {
  content: '';
  display: inline-block;
  box-sizing: border-box;
  inline-size: .5em;
  aspect-ratio: 1;
  margin-inline-end: var(--live-gap, .4em);
  border-radius: 50%;
  vertical-align: .1em;
}
[part=dot] { background: var(--live-accent, light-dark(#1b7f3b, #4ade80)) }
[part~=button] {
  display: inline-flex;
  position: relative;
  align-items: baseline;
  justify-content: center;
  gap: var(--live-gap, .4em);
  box-sizing: border-box;
  min-inline-size: calc(var(--live-width, 2ch) + 3.5em);
  min-block-size: max(2em, 24px);
  padding: .3em .8em;
  border: 1px solid color-mix(in srgb, currentColor 35%, transparent);
  border-radius: 99em;
}
:host([data-on]) [part~=button], [part~=chosen] { border-color: var(--accent) }
[part~=button]:hover { background: color-mix(in srgb, var(--accent) 10%, transparent) }
button {
  position: absolute;
  inset: 0;
  border: 0;
  border-radius: inherit;
  background: none;
  cursor: pointer;
  touch-action: manipulation;
  -webkit-tap-highlight-color: transparent;
}
button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
[part=icon] { align-self: center; inline-size: 1.2em; fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round }
:host([data-on]) [part=icon] { fill: var(--accent); stroke: var(--accent) }
[role=group] { display: inline-flex; flex-wrap: wrap; gap: .5em; --live-size: initial }
[part=label]::before { border: 1px solid }
[part~=chosen] [part=label]::before { border: .25em solid var(--accent); background: var(--accent) }
@media (prefers-reduced-motion: no-preference) {
  [part=icon] { transition: transform .15s }
  [part~=button]:active [part=icon] { transform: scale(.8) }
}
@media (forced-colors: active) {
  :host([data-on]) [part=icon] { fill: currentColor; stroke: currentColor }
  [part=dot] { background: CanvasText }
}
`;

let sheet: CSSStyleSheet | undefined;

/** Shared by all widgets of a page. A constructed sheet needs no exception from a content security policy. */
export function styleSheet(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    // jsdom has the class without this method.
    if ('replaceSync' in sheet) sheet.replaceSync(CSS);
  }
  return sheet;
}
