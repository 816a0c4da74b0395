/* Connections to PORT of this machine: "PORT" makes them directly, "PORT PROXY" asks the SOCKS 5
   proxy at port PROXY for them, and "serve" is the server, which says its port and echoes.

   A client reads lines, and answers each with a figure:
     after COUNT BYTES       one after the other, with so many bytes echoed, one by one: µs for each
     epoll COUNT AT-ONCE     non-blocking, by one thread: per second
     threads COUNT AT-ONCE   blocking, by so many threads: per second */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

enum { PATIENCE = 60, MOST = 1024 };

static struct sockaddr_in to = {.sin_family = AF_INET};
static const unsigned char hello[] = {5, 1, 0};
static unsigned char request[] = {5, 1, 0, 1, 127, 0, 0, 1, 0, 0};
static int asks_proxy;

static void say(int fd, const void *data, size_t size)
{
    must(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size, "send");
}

/* The proxy's answers start with its version, or that of the log-in, and with 0 for yes. */
static void take(int fd, size_t size)
{
    unsigned char answer[sizeof request];

    must(recv(fd, answer, size, MSG_WAITALL) == (ssize_t)size && !answer[1], "the proxy's answer");
}

/* ---- the server ---- */

static void server(void)
{
    struct epoll_event events[256], event = {.events = EPOLLIN};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), ready;
    socklen_t size = sizeof to;
    char byte;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(listener, (struct sockaddr *)&to, size) == 0, "bind");
    must(listen(listener, 1024) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&to, &size);
    printf("%d\n", ntohs(to.sin_port));
    fflush(stdout);
    event.data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    while ((ready = epoll_wait(epoll, events, 256, -1)) >= 0)
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;

            if (fd != listener) {
                if (recv(fd, &byte, 1, 0) <= 0)
                    close(fd);
                else
                    send(fd, &byte, 1, MSG_NOSIGNAL);
                continue;
            }
            while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
}

/* ---- the client ---- */

static void one(int bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 'x';

    must(fd >= 0, "socket");
    must(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    if (asks_proxy) {
        say(fd, hello, sizeof hello);
        take(fd, 2);
        say(fd, request, sizeof request);
        take(fd, sizeof request);
    }
    while (bytes--) {
        say(fd, &byte, 1);
        must(recv(fd, &byte, 1, 0) == 1, "recv");
    }
    close(fd);
}

struct state {
    int fd;
    enum { CONNECTING, GREETED, ASKED } now;
};

static void begin(int epoll, struct state *state)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = state};

    state->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    state->now = CONNECTING;
    must(state->fd >= 0, "socket");
    must(connect(state->fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS,
         "connect");
    epoll_ctl(epoll, EPOLL_CTL_ADD, state->fd, &event);
}

/* Whether the connection is there. */
static int go_on(int epoll, struct state *state)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = state};
    socklen_t size = sizeof errno;

    switch (state->now) {
    case CONNECTING:
        getsockopt(state->fd, SOL_SOCKET, SO_ERROR, &errno, &size);
        must(errno == 0, "connect");
        if (!asks_proxy)
            return 1;
        say(state->fd, hello, sizeof hello);
        epoll_ctl(epoll, EPOLL_CTL_MOD, state->fd, &event);
        break;
    case GREETED:
        take(state->fd, 2);
        say(state->fd, request, sizeof request);
        break;
    case ASKED:
        take(state->fd, sizeof request);
        return 1;
    }
    state->now++;
    return 0;
}

static void by_epoll(int count, int at_once)
{
    struct state states[MOST];
    struct epoll_event events[MOST];
    int epoll = epoll_create1(0), begun = 0, done = 0;

    for (; begun < at_once && begun < count; begun++)
        begin(epoll, states + begun);
    while (done < count) {
        int ready = epoll_wait(epoll, events, MOST, PATIENCE * 1000);

        must(ready > 0, "epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct state *state = events[i].data.ptr;

            if (!go_on(epoll, state))
                continue;
            close(state->fd);
            done++;
            if (begun < count)
                begun++, begin(epoll, state);
        }
    }
    close(epoll);
}

static void *some(void *count)
{
    for (long left = (long)count; left; left--)
        one(0);
    return 0;
}

static void by_threads(int count, int at_once)
{
    pthread_t threads[MOST];

    for (int i = 0; i < at_once; i++)
        must(!pthread_create(threads + i, 0, some, (void *)(long)(count / at_once)), "thread");
    for (int i = 0; i < at_once; i++)
        pthread_join(threads[i], 0);
}

int main(int argc, char **argv)
{
    char what[8];
    int count, more;

    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        server();
    if (argc < 2 || argc > 3)
        return 2;
    asks_proxy = argc == 3;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(atoi(argv[argc - 1]));
    request[8] = atoi(argv[1]) >> 8;
    request[9] = atoi(argv[1]);
    while (scanf("%7s %d %d", what, &count, &more) == 3 && more <= MOST) {
        double from = now();

        alarm(PATIENCE);
        if (*what == 'a')
            for (int i = 0; i < count; i++)
                one(more);
        else
            (*what == 'e' ? by_epoll : by_threads)(count, more);
        alarm(0);
        printf("%.2f\n", *what == 'a' ? (now() - from) * 1e6 / count : count / (now() - from));
        fflush(stdout);
    }
}
