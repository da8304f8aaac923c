// The other peer: a push server on Node's ws, fed by PostgreSQL's NOTIFY (notify.sql). Prints its port.
'use strict';

const { WebSocketServer, WebSocket } = require('ws');
const { Client } = require('pg');

const groups = new Map(); // unit -> sockets

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 }, () => console.log(`port ${server.address().port}`));

server.on('connection', (socket, request) => {
  const unit = Number(/^\/ws\/requests\/(\d+)\//.exec(request.url)?.[1]);
  if (!groups.has(unit)) groups.set(unit, new Set());
  groups.get(unit).add(socket);
  socket.on('close', () => groups.get(unit).delete(socket));
  socket.on('error', () => socket.terminate());
  socket.send(JSON.stringify({ type: 'connection_established', stream: 'requests' }));
});

const database = new Client({ connectionString: process.env.DATABASE_URL });

database.on('notification', ({ payload }) => {
  for (const socket of groups.get(JSON.parse(payload).data.unit_id) ?? []) {
    if (socket.readyState === WebSocket.OPEN) socket.send(payload);
  }
});

database.connect().then(() => database.query('LISTEN requests'));
