const CSS = `
:host {
  display: inline-block;
  color: var(--live-color, inherit);
  font-size: var(--live-size, inherit);
  font-variant-numeric: tabular-nums;
}
:host([hidden]), [hidden] { display: none }
[part=number] { unicode-bidi: plaintext; white-space: nowrap }
[part=time] { white-space: nowrap }
[part=message]:not([hidden]) { font-weight: bold }
[role=status] {
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
.confetti { position: fixed; inset: 0; z-index: 2147483647; overflow: clip; pointer-events: none }
.confetti span { position: absolute; inset-block-start: 0; left: 0; inline-size: 8px; block-size: 14px; border-radius: 2px }
`;

let sheet: CSSStyleSheet | undefined;

/** Shared by all milestones of a page. */
export function milestoneStyleSheet(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    // jsdom has the class without this method.
    if ('replaceSync' in sheet) sheet.replaceSync(CSS);
  }
  return sheet;
}
