const { ask } = require('./ask')

const app = require('fastify')()
app.get('/*', async (request) => ask(request.url))
app.listen({ port: Number(process.env.PORT) })
process.on('SIGTERM', () => app.close().then(() => process.exit(0)))
