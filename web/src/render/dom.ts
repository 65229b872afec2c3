// A page as a function of its state: h() describes elements, patch() brings the real ones in line and keeps focus, scroll position, open
// <details> and typed text, because it only touches what differs. Styles go through the CSSOM: the page's policy forbids style attributes.

type Value = string | number | boolean | null | undefined | ((event: never) => void) | Record<string, string>;
export interface Props {
  /** Tells siblings of one parent apart when they come, go or change places. */
  key?: string;
  /** Runs once, after the element was put into the page. */
  mounted?: (element: HTMLElement) => void;
  [name: string]: Value | ((element: HTMLElement) => void);
}
export interface VNode {
  tag: string;
  props: Props;
  children: (VNode | string)[];
}
export type Child = VNode | string | number | false | null | undefined | Child[];

export function h(tag: string, props: Props | null, ...children: Child[]): VNode {
  return { tag, props: props ?? {}, children: flat(children) };
}

function flat(children: Child[]): (VNode | string)[] {
  const out: (VNode | string)[] = [];
  for (const child of children) {
    if (Array.isArray(child)) out.push(...flat(child));
    else if (typeof child === "number") out.push(String(child));
    else if (child !== false && child !== null && child !== undefined && child !== "") out.push(child);
  }
  return out;
}

const svgTags = new Set(["svg", "path", "circle", "rect", "polyline", "polygon", "line", "g"]);
const described = new WeakMap<Element, VNode>();
/** Elements made during the running patch: they hear that they are in the page once they really are. */
let born: (() => void)[] = [];
let depth = 0;

function set(element: Element, name: string, value: Props[string], before: Props[string]): void {
  if (name === "key" || name === "mounted") return;
  if (name === "style") {
    const style = (element as HTMLElement).style;
    for (const [property, text] of Object.entries((value ?? {}) as Record<string, string>)) style.setProperty(property, text);
  } else if (name.startsWith("on")) {
    (element as unknown as Record<string, unknown>)[name] = value ?? null;
  } else if (value === before) {
    return;
  } else if (name === "value" || name === "disabled") {
    (element as unknown as Record<string, unknown>)[name] = value ?? (name === "value" ? "" : false);
  } else if (value === false || value === null || value === undefined) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

function make(node: VNode): Element {
  const element = svgTags.has(node.tag) ? document.createElementNS("http://www.w3.org/2000/svg", node.tag) : document.createElement(node.tag);
  update(element, { tag: node.tag, props: {}, children: [] }, node);
  return element;
}

function update(element: Element, before: VNode, now: VNode): void {
  described.set(element, now);
  for (const name of Object.keys(before.props)) if (!(name in now.props)) set(element, name, undefined, before.props[name]);
  patch(element, now.children); // children first: a <select> takes its value once its options are there
  for (const [name, value] of Object.entries(now.props)) set(element, name, value, before.props[name]);
}

/** Makes the children of `parent` what `wanted` describes. */
export function patch(parent: Element, wanted: (VNode | string)[]): void {
  ++depth;
  const free = [...parent.childNodes];
  const take = (node: VNode | string): ChildNode | undefined => {
    const index = free.findIndex((old) => {
      if (typeof node === "string") return old.nodeType === Node.TEXT_NODE;
      const was = old instanceof Element ? described.get(old) : undefined;
      return was !== undefined && was.tag === node.tag && was.props.key === node.props.key;
    });
    return index < 0 ? undefined : free.splice(index, 1)[0];
  };
  const chosen = wanted.map((node): ChildNode => {
    const old = take(node);
    if (typeof node === "string") {
      if (!old) return document.createTextNode(node);
      if (old.nodeValue !== node) old.nodeValue = node;
      return old;
    }
    if (old instanceof Element) {
      update(old, described.get(old) as VNode, node);
      return old;
    }
    const element = make(node);
    const { mounted } = node.props;
    if (mounted) born.push(() => mounted(element as HTMLElement));
    return element;
  });
  for (const old of free) old.remove();
  chosen.forEach((node, index) => {
    if (parent.childNodes[index] !== node) parent.insertBefore(node, parent.childNodes[index] ?? null);
  });
  if (--depth > 0) return;
  const ready = born;
  born = [];
  for (const tell of ready) tell();
}
