// No handler of any signal, as most examples of node have it.
require('http').createServer(require('./ask').answer).listen(process.env.PORT)
