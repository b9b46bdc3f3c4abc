/* dom.ts - typed look-ups in the page's own markup. */

export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const node = document.getElementById(id);
  if (!(node instanceof type)) throw new Error(`#${id} is not a ${type.name}`);
  return node;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K, className: string, text = '', ...children: Node[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  if (className !== '') node.className = className;
  if (text !== '') node.textContent = text;
  node.append(...children);
  return node;
}
