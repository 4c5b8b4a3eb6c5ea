// `@vercel/cosmosdb-server` on a free port of 127.0.0.1, which it prints; it ends with its standard input.

import cosmosdb from '@vercel/cosmosdb-server';

const server = cosmosdb.createHttpServer({ keepAlive: true });
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
