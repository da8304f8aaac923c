import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { renderToString } from 'react-dom/server';
import { expect, it } from 'vitest';
import { LiveIndicator, useNotifications, useRequestUpdates, WebSocketProvider } from '../src/react/index.js';

function Page() {
  const { unread } = useNotifications(7);
  return (
    <p>
      {useRequestUpdates(5)} {unread} <LiveIndicator />
    </p>
  );
}

it('renders on a server, where there is no window', () => {
  expect(typeof window).toBe('undefined');
  const html = renderToString(
    <QueryClientProvider client={new QueryClient()}>
      <WebSocketProvider token={() => Promise.reject(new Error('asked on the server'))}>
        <Page />
      </WebSocketProvider>
    </QueryClientProvider>,
  );
  expect(html).toContain('data-state="connecting"');
});

it('says what is missing without a provider', () => {
  expect(() => renderToString(<LiveIndicator />)).toThrow('WebSocketProvider');
});
