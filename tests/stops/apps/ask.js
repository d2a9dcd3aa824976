// Answers each request with what the backend answers to the same path.
const http = require('http')

function ask(path) {
  return new Promise((resolve, reject) => {
    http.get(`http://${process.env.BACKEND}${path}`, { agent: false }, (answer) => {
      let body = ''
      answer.on('data', (part) => { body += part })
      answer.on('end', () => resolve(body))
      answer.on('error', reject)
    }).on('error', reject)
  })
}

function answer(request, response) {
  ask(request.url).then((body) => response.end(body), () => response.writeHead(502).end())
}

module.exports = { ask, answer }
