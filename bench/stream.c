/* One stream of bytes: "serve" is the server, "PORT" or "/PATH" the client.

   The server says its port, and serves each connection in a process of its own.  The client reads
   lines, and answers each with a figure, of one new connection:
     send BLOCK SECONDS   bytes per second, until the server has said that it has them all
     recv BLOCK SECONDS   bytes per second
     ping SECONDS         round trips of one byte per second */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST (1 << 20)

static char buffer[MOST];

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* 0 where the peer is gone. */
static int write_all(int fd, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(fd, (const char *)data + done, size - done, MSG_NOSIGNAL);

        if (sent <= 0)
            return 0;
        done += sent;
    }
    return 1;
}

static int read_all(int fd, void *data, size_t size)
{
    return recv(fd, data, size, MSG_WAITALL) == (ssize_t)size;
}

/* ---- the server ---- */

struct order {
    char what;
    uint32_t block;
} __attribute__((packed));

static void serve(int fd)
{
    struct order order;
    uint64_t total = 0;
    ssize_t got;
    char byte;

    if (!read_all(fd, &order, sizeof order) || order.block > MOST)
        return;
    switch (order.what) {
    case 's':
        while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0)
            total += got;
        write_all(fd, &total, sizeof total);
        break;
    case 'r':
        while (write_all(fd, buffer, order.block))
            ;
        break;
    case 'p':
        while (recv(fd, &byte, 1, 0) == 1 && write_all(fd, &byte, 1))
            ;
    }
}

static void server(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;

    signal(SIGCHLD, SIG_IGN);
    must(bind(listener, (struct sockaddr *)&name, size) == 0, "bind");
    must(listen(listener, 128) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&name, &size);
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    while ((fd = accept(listener, 0, 0)) >= 0) {
        if (fork() == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            serve(fd);
            _exit(0);
        }
        close(fd);
    }
}

/* ---- the client ---- */

static int to_server(const char *where)
{
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    int fd, one = 1;

    if (*where == '/') {
        strncpy(path.sun_path, where, sizeof path.sun_path - 1);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        must(connect(fd, (struct sockaddr *)&path, sizeof path) == 0, "connect");
    } else {
        tcp.sin_port = htons(atoi(where));
        fd = socket(AF_INET, SOCK_STREAM, 0);
        must(connect(fd, (struct sockaddr *)&tcp, sizeof tcp) == 0, "connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return fd;
}

static double bulk(int fd, char what, unsigned block, double seconds)
{
    double from = now();
    uint64_t total = 0, theirs;
    ssize_t got;

    if (what == 'r') {
        while (now() - from < seconds && (got = recv(fd, buffer, block, 0)) > 0)
            total += got;
        must(total > 0, "recv");
        return total / (now() - from);
    }
    for (; now() - from < seconds; total += block)
        must(write_all(fd, buffer, block), "send");
    shutdown(fd, SHUT_WR);
    must(read_all(fd, &theirs, sizeof theirs), "recv");
    must(theirs == total, "the server has another number of bytes");
    return total / (now() - from);
}

static double ping(int fd, double seconds)
{
    double from = now();
    long trips = 0;
    char byte = 'x';

    while (now() - from < seconds)
        for (int i = 0; i < 32; i++, trips++)
            must(write_all(fd, &byte, 1) && recv(fd, &byte, 1, 0) == 1, "ping");
    return trips / (now() - from);
}

int main(int argc, char **argv)
{
    char line[64], what[8];
    double one, two;

    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "serve") == 0)
        server();
    while (fgets(line, sizeof line, stdin)) {
        int given = sscanf(line, "%7s %lf %lf", what, &one, &two), fd = to_server(argv[1]);
        struct order order = {*what, given == 3 ? one : 1};

        must(write_all(fd, &order, sizeof order), "send");
        printf("%.1f\n", *what == 'p' ? ping(fd, one) : bulk(fd, *what, order.block, two));
        fflush(stdout);
        close(fd);
    }
}
