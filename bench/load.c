/* Many connections at once: reads "CONNECTIONS REQUESTS" lines, and for each opens so many
   connections to PORT, has all of them open at the same time, and makes so many HTTP requests on
   each; then it closes them, and answers "REQUESTS-PER-SECOND ERRORS". */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct one {
    int fd, left;
    long answered; /* bytes of the answer that are here */
};

static long errors, size_of_answer;

static void ask(struct one *one)
{
    one->answered = 0;
    if (send(one->fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        one->left = 0, errors++;
}

static void failed(struct one *one, const char *where)
{
    if (errors++ < 3)
        fprintf(stderr, "%s: %s\n", where, strerror(errno));
    one->left = 0;
}

/* Takes what is there, and asks again; the first answer tells how long they all are. */
static void take(struct one *one)
{
    static char data[65536];
    ssize_t got = recv(one->fd, data, sizeof data - 1, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        return failed(one, "recv");
    if (one->answered == 0 && memcmp(data, "HTTP/1.1 200", 12))
        return failed(one, "not a 200");
    one->answered += got;
    if (size_of_answer == 0) {
        data[got] = 0;
        char *body = strstr(data, "\r\n\r\n"), *length = strstr(data, "Content-Length: ");

        if (!body || !length)
            return failed(one, "a short answer");
        size_of_answer = body + 4 - data + atol(length + 16);
    }
    if (one->answered > size_of_answer)
        return failed(one, "too long an answer");
    if (one->answered == size_of_answer && --one->left)
        ask(one);
}

static void wait_for(int epoll, struct one *ones, int connections, int (*more)(struct one *))
{
    struct epoll_event events[256];
    int open = 0;

    for (int i = 0; i < connections; i++)
        open += more(ones + i);
    while (open) {
        int ready = epoll_wait(epoll, events, 256, 30000);

        if (ready <= 0) {
            errors += open;
            fprintf(stderr, "%d connections are stuck\n", open);
            return;
        }
        for (int i = 0; i < ready; i++) {
            struct one *one = events[i].data.ptr;
            int was = more(one);

            if (events[i].events & EPOLLIN)
                take(one);
            else if (events[i].events & (EPOLLERR | EPOLLHUP))
                failed(one, "epoll");
            open -= was && !more(one);
        }
    }
}

static int unfinished(struct one *one)
{
    return one->left > 0;
}

static int run(int port, int connections, int requests, double *rate)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct one *ones = calloc(connections, sizeof *ones);
    int epoll = epoll_create1(0), bad = 1;
    double from;

    errors = 0;
    to.sin_port = htons(port);
    for (int i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = ones + i};

        ones[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(ones[i].fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
            failed(ones + i, "connect");
        else
            ones[i].left = requests;
        event.events = EPOLLOUT;
        epoll_ctl(epoll, EPOLL_CTL_ADD, ones[i].fd, &event);
    }
    /* All are connected before the first asks. */
    for (int i = 0, waiting = connections; waiting; i = (i + 1) % connections) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 30000);

        if (ready <= 0) {
            fprintf(stderr, "%d connects are stuck\n", waiting);
            errors += waiting;
            break;
        }
        for (int j = 0; j < ready; j++, waiting--) {
            struct one *one = events[j].data.ptr;
            socklen_t size = sizeof bad;

            getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &bad, &size);
            if (bad)
                errno = bad, failed(one, "connect");
            events[j].events = EPOLLIN;
            epoll_ctl(epoll, EPOLL_CTL_MOD, one->fd, events + j);
        }
    }
    from = now();
    for (int i = 0; i < connections; i++)
        if (ones[i].left)
            ask(ones + i);
    wait_for(epoll, ones, connections, unfinished);
    *rate = (double)connections * requests / (now() - from);
    for (int i = 0; i < connections; i++)
        close(ones[i].fd);
    close(epoll);
    free(ones);
    return errors;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int connections, requests;
    double rate;

    if (argc != 2)
        return 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    while (scanf("%d %d", &connections, &requests) == 2) {
        int bad = run(atoi(argv[1]), connections, requests, &rate);

        printf("%.1f %d\n", rate, bad);
        fflush(stdout);
    }
}
