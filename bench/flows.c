/* Many open connections, of which one is busy: "serve" is the server, "PORT" a client of it.

   The server answers each line with its port and the number of its connections.  It greets each
   with a byte, and sends one whenever what has come ends with a newline.  The client reads lines,
   and answers each with a figure:
     open COUNT     have so many connections, to eight addresses in turn: new ones per second
     send SECONDS   on the first of them: bytes per second
     ping SECONDS   on the first of them: round trips of one byte per second */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

enum { PATIENCE = 60, MOST = 100000, AT_ONCE = 64, BLOCK = 65536, BLOCKS = 64 };

static char data[BLOCK * 4];
static struct epoll_event events[256];

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

/* ---- the server ---- */

static void server(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
    int open = 0, ready, fd;
    socklen_t size = sizeof name;
    ssize_t got;

    must(bind(listener, (struct sockaddr *)&name, size) == 0, "bind");
    must(listen(listener, 1024) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&name, &size);
    watch(epoll, listener);
    watch(epoll, 0);
    while ((ready = epoll_wait(epoll, events, 256, -1)) >= 0)
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) {
                while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    watch(epoll, fd);
                    send(fd, "!", 1, MSG_NOSIGNAL);
                    open++;
                }
                must(errno == EAGAIN, "accept");
                continue;
            }
            got = read(events[i].data.fd, data, sizeof data);
            if (events[i].data.fd == 0) {
                if (got <= 0)
                    exit(0);
                printf("%d %d\n", ntohs(name.sin_port), open);
                fflush(stdout);
            } else if (got <= 0) {
                close(events[i].data.fd);
                open--;
            } else if (data[got - 1] == '\n')
                send(events[i].data.fd, "!", 1, MSG_NOSIGNAL);
        }
}

/* ---- the client ---- */

static int fds[MOST], have;

static int begin(int port, int which)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + which % 8);
    must(fd >= 0, "socket");
    must(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS, "connect");
    return fd;
}

/* Each has been greeted before it counts. */
static double open_all(int port, int count)
{
    double from = now();
    int epoll = epoll_create1(0), begun = have, add = count - have;

    while (have > count)
        close(fds[--have]);
    while (have < count) {
        int ready;

        for (; begun < count && begun - have < AT_ONCE; begun++)
            watch(epoll, begin(port, begun));
        ready = epoll_wait(epoll, events, 256, PATIENCE * 1000);
        must(ready > 0, "epoll_wait");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;

            must(recv(fd, data, 1, 0) == 1, "the greeting");
            epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0);
            fds[have++] = fd;
        }
    }
    close(epoll);
    return add / (now() - from);
}

static void send_all(int fd, size_t size)
{
    must(send(fd, data + sizeof data - size, size, MSG_NOSIGNAL) == (ssize_t)size, "send");
}

static double busy(int fd, double seconds, size_t size, int times)
{
    double from = now();
    long done = 0;
    char answer;

    for (; now() - from < seconds; done++) {
        for (int i = 1; i < times; i++)
            must(send(fd, data, BLOCK, MSG_NOSIGNAL) == BLOCK, "send");
        send_all(fd, size);
        must(recv(fd, &answer, 1, 0) == 1, "recv");
    }
    return done * times * size / (now() - from);
}

int main(int argc, char **argv)
{
    char what[8];
    double much;

    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "serve") == 0)
        server();
    data[sizeof data - 1] = '\n';
    while (scanf("%7s %lf", what, &much) == 2) {
        int first;

        alarm(PATIENCE);
        if (*what == 'o') {
            printf("%.1f\n", much <= MOST ? open_all(atoi(argv[1]), much) : 0);
        } else {
            first = *fds;
            fcntl(first, F_SETFL, fcntl(first, F_GETFL) & ~O_NONBLOCK);
            printf("%.1f\n", *what == 's' ? busy(first, much, BLOCK, BLOCKS)
                                          : busy(first, much, 1, 1));
        }
        alarm(0);
        fflush(stdout);
    }
}
