export {
  WebSocketContext,
  WebSocketProvider,
  type StreamKeys,
  type WebSocketContextValue,
  type WebSocketProviderProps,
} from './context.js';
export {
  useCrateUpdates,
  useLiveState,
  useNotifications,
  useRequestUpdates,
  useStale,
  useStorageUpdates,
  useWebSocket,
  type Notification,
  type Notifications,
  type UpdateOptions,
} from './hooks.js';
export { LiveIndicator, type LiveIndicatorProps } from './indicator.js';
