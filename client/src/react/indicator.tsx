import type { ReactNode } from 'react';
import type { LiveState, Stream } from '../index.js';
import { useLiveState } from './hooks.js';

const LABELS: Record<LiveState, string> = {
  connecting: 'Connecting',
  live: 'Live',
  catching_up: 'Catching up',
  offline: 'Offline',
  denied: 'No access',
};

export interface LiveIndicatorProps {
  stream?: Stream;
  id?: string | number | null;
  labels?: Partial<Record<LiveState, string>>;
  className?: string;
}

/** The state in a word, for the style sheet in `data-state`; without a stream, the worst of all. */
export function LiveIndicator({ stream, id, labels, className = 'walpush-live' }: LiveIndicatorProps): ReactNode {
  const state = useLiveState(stream, id);
  return (
    <span role="status" className={className} data-state={state}>
      {labels?.[state] ?? LABELS[state]}
    </span>
  );
}
