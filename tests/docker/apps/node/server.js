// A server as Next.js' standalone one starts and stops: it listens on HOSTNAME and PORT and ends at SIGTERM.
const http = require("http");

const server = http.createServer((request, response) => {
  response.end(request.url === "/health" ? "ok\n" : "Hello\n");
});
server.listen(process.env.PORT, process.env.HOSTNAME);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
