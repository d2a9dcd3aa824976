/* A static application with a health endpoint and nothing else: what people write in Go. */
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void stop(int number) { (void)number; _exit(0); }

int main(void) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(getenv("PORT")))};
    char request[4096];
    int listener = socket(AF_INET6, SOCK_STREAM, 0);
    signal(SIGTERM, stop);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 16)) return 1;
    for (;;) {
        int connection = accept(listener, 0, 0);
        if (read(connection, request, sizeof request) > 0) write(connection, answer, sizeof answer - 1);
        close(connection);
    }
}
