export { WebSocketClient, type WebSocketClientOptions } from './client.js';
export { type Ended, type LiveState, type Socket } from './connection.js';
export { compareIds } from './eventid.js';
export * from './messages.js';
