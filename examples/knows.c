/* A client that knows of tesla_trace, and goes on without it.
 *
 *     cc -o knows examples/knows.c
 *     ./knows 127.0.0.1 7
 *     tesla_trace +dummy +log ./knows 127.0.0.1 7
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../include/tesla_trace.h"

static void look_at(int fd) {
    char names[256], answer[64];
    struct ts_event event;
    ssize_t size = ts_ioctl(fd, "", 0, TS_LIST, NULL, 0, names, sizeof names);
    if (size < 0) {
        printf("no handlers: %s\n", strerror(errno));
        return;
    }
    for (char *name = names; name < names + size; name += strlen(name) + 1)
        printf("handler %s\n", name);

    ts_ioctl(fd, "log", 0, 1, "now it gets interesting", 23, NULL, 0);
    size = ts_ioctl(fd, "dummy", 0, 1, "hello", 5, answer, sizeof answer);
    if (size < 0)
        return perror("dummy");
    printf("dummy answers %.*s\n", (int)size, answer);

    int events = ts_events(fd);
    ts_ioctl(fd, "dummy", 0, 2, "tell me", 7, NULL, 0);
    if (ts_next(events, &event) == 1)
        printf("%s tells %u: %.*s\n", event.handler, event.kind, (int)event.size, event.data);
    close(events);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: knows ADDRESS PORT\n");
        return 2;
    }
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &there.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&there, sizeof there)) {
        perror("connect");
        return 1;
    }
    look_at(fd);
    char line[64];
    send(fd, "ping\n", 5, 0);
    shutdown(fd, SHUT_WR);
    ssize_t got = recv(fd, line, sizeof line, MSG_WAITALL);
    printf("the server says %.*s", (int)(got < 0 ? 0 : got), line);
    return 0;
}
