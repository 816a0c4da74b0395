/* One stream of bytes: "serve" is the server, anything else the client.

     stream [-k KEYFILE] serve [ADDRESS]            says its port
     stream [-k KEYFILE] [-s PROXY] ADDRESS:PORT    or the path of a UNIX socket
       -k  encrypt inside the program (inside.h; only where compiled with -DINSIDE)
       -s  ask the SOCKS server at this ADDRESS:PORT to connect

   The server serves each connection in a process of its own.  The client reads lines, and answers
   each with a figure, of one new connection:
     send BLOCK SECONDS   bytes per second, until the server has said that it has them all
     recv BLOCK SECONDS   bytes per second
     ping SECONDS         round trips of one byte per second
   How long it takes until the server is ready is not in the figure. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "measure.h"

#define MOST (1 << 20)
#define END '\n' /* the last byte sent, and no other: not every relay passes half of an end on */

static char buffer[MOST];

#include "inside.h"
#include "through.h"

/* 0 where the peer is gone. */
static int write_all(int fd, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t sent = put(fd, (const char *)data + done, size - done);

        if (sent <= 0)
            return 0;
        done += sent;
    }
    return 1;
}

static int read_all(int fd, void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = get(fd, (char *)data + done, size - done);

        if (got <= 0)
            return 0;
        done += got;
    }
    return 1;
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
    int one = 1;
    ssize_t got;
    char byte = 'r';

    if (!read_all(fd, &order, sizeof order) || order.block > MOST || !write_all(fd, &byte, 1))
        return;
    switch (order.what) {
    case 's':
        while ((got = get(fd, buffer, sizeof buffer)) > 0) {
            total += got;
            if (buffer[got - 1] == END) {
                write_all(fd, &total, sizeof total);
                break;
            }
        }
        break;
    case 'r':
        while (write_all(fd, buffer, order.block))
            ;
        break;
    case 'p':
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        while (get(fd, &byte, 1) == 1 && write_all(fd, &byte, 1))
            ;
    }
    while (get(fd, buffer, sizeof buffer) > 0) /* a close with bytes unread would be a reset */
        ;
}

static void server(const char *address)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address)};
    socklen_t size = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

    signal(SIGCHLD, SIG_IGN);
    must(bind(listener, (struct sockaddr *)&name, size) == 0, "bind");
    must(listen(listener, 128) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&name, &size);
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    while ((fd = accept(listener, 0, 0)) >= 0) {
        if (fork() == 0) {
            close(listener);
            encrypt(fd, 1);
            serve(fd);
            _exit(0);
        }
        close(fd);
    }
}

/* ---- the client ---- */

static int to_server(const char *where, const char *proxy)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    int fd;

    if (*where == '/') {
        strncpy(path.sun_path, where, sizeof path.sun_path - 1);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        must(connect(fd, (struct sockaddr *)&path, sizeof path) == 0, "connect");
    } else {
        struct sockaddr_in tcp = address(proxy ? proxy : where), target = address(where);

        fd = socket(AF_INET, SOCK_STREAM, 0);
        must(connect(fd, (struct sockaddr *)&tcp, sizeof tcp) == 0, "connect");
        if (proxy)
            must(through(fd, &target), "SOCKS");
    }
    encrypt(fd, 0);
    return fd;
}

static double bulk(int fd, char what, unsigned block, double seconds)
{
    double from = now();
    uint64_t total = 0, theirs;
    ssize_t got;

    if (what == 'r') {
        while (now() - from < seconds && (got = get(fd, buffer, block)) > 0)
            total += got;
        must(total > 0, "recv");
        return total / (now() - from);
    }
    while (now() - from < seconds)
        for (int i = block < 4096 ? 16 : 1; i > 0; i--, total += block)
            must(write_all(fd, buffer, block), "send");
    must(write_all(fd, &(char){END}, 1) && read_all(fd, &theirs, sizeof theirs), "recv");
    must(theirs == total + 1, "the server has another number of bytes");
    return total / (now() - from);
}

static double ping(int fd, double seconds)
{
    double from = now();
    long trips = 0;
    char byte = 'x';

    while (now() - from < seconds)
        for (int i = 0; i < 32; i++, trips++)
            must(write_all(fd, &byte, 1) && get(fd, &byte, 1) == 1, "ping");
    return trips / (now() - from);
}

int main(int argc, char **argv)
{
    const char *proxy = 0, *where;
    char line[64], what[8], ready;
    double one, two;

    for (int option; (option = getopt(argc, argv, "+k:s:")) != -1;) {
        if (option == 'k')
            key(optarg);
        else if (option == 's')
            proxy = optarg;
        else
            return 2;
    }
    if (!(where = argv[optind]))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    for (size_t at = 0; at < sizeof buffer; at++)
        buffer[at] = "in plain words, "[at % 16];
    if (strcmp(where, "serve") == 0)
        server(argv[optind + 1] ? argv[optind + 1] : "127.0.0.1");
    while (fgets(line, sizeof line, stdin)) {
        int given = sscanf(line, "%7s %lf %lf", what, &one, &two), fd = to_server(where, proxy);
        struct order order = {*what, given == 3 ? one : 1};

        if (*what == 'p')
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        must(write_all(fd, &order, sizeof order) && read_all(fd, &ready, 1), "order");
        printf("%.1f\n", *what == 'p' ? ping(fd, one) : bulk(fd, *what, order.block, two));
        fflush(stdout);
        done(fd);
    }
}
