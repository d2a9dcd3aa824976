const server = require('http').createServer(require('./ask').answer).listen(process.env.PORT)
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => server.close(() => process.exit(0)))
}
