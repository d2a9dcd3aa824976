import { createServer } from 'http'
import { answer } from './ask'

const server = createServer(answer).listen(process.env.PORT)
process.on('SIGTERM', (): void => { server.close(() => process.exit(0)) })
