// The primary lets its workers finish; they have no handler of their own.
const cluster = require('cluster')

if (cluster.isPrimary) {
  for (let count = 0; count < 4; count += 1) cluster.fork()
  process.on('SIGTERM', () => cluster.disconnect())
} else {
  require('./bare')
}
