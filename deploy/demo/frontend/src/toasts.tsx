/** Short messages in the corner, gone after some seconds. */
import { useSyncExternalStore } from 'react';

type Kind = 'done' | 'failed' | 'note';
interface Toast {
  n: number;
  kind: Kind;
  text: string;
}

const LIFE: Record<Kind, number> = { done: 3000, failed: 8000, note: 8000 };
const watchers = new Set<() => void>();
let toasts: Toast[] = [];
let count = 0;

function become(next: Toast[]): void {
  toasts = next;
  watchers.forEach((watcher) => watcher());
}

const dismiss = (n: number) => become(toasts.filter((one) => one.n !== n));

export function toast(kind: Kind, text: string): void {
  const n = ++count;
  become([...toasts.slice(-4), { n, kind, text }]);
  setTimeout(() => dismiss(n), LIFE[kind]);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (changed) => (watchers.add(changed), () => void watchers.delete(changed)),
    () => toasts,
  );
  return (
    <div className="toasts" aria-live="polite">
      {shown.map(({ n, kind, text }) => (
        <button key={n} className={`toast ${kind}`} onClick={() => dismiss(n)}>
          {text}
        </button>
      ))}
    </div>
  );
}
