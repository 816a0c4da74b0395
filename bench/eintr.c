/* Counts trapped calls that fail with EINTR, which natively they never do, while a timer sends
   signals without SA_RESTART: reads "MICROSECONDS CALLS" lines, the time between two signals and how
   many calls to make, and answers each with the failures and the calls. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static long calls, failures;

static void on_alarm(int number) { (void)number; }

/* The result of a call; once more if a signal ended it, until it is done. */
#define COUNT(result, call)                                                                        \
    while (calls++, ((result) = (call)) < 0) {                                                     \
        if (errno != EINTR) {                                                                      \
            perror(#call);                                                                         \
            exit(1);                                                                               \
        }                                                                                          \
        failures++;                                                                                \
    }

static void one_socket(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int fd, done, one = 1;

    COUNT(fd, socket(AF_INET, SOCK_STREAM, 0));
    COUNT(done, setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one));
    size = sizeof one;
    COUNT(done, getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, &size));
    COUNT(done, bind(fd, (struct sockaddr *)&name, sizeof name));
    size = sizeof name;
    COUNT(done, getsockname(fd, (struct sockaddr *)&name, &size));
    COUNT(done, listen(fd, 5));
    close(fd);
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    long interval, wanted;

    sigaction(SIGALRM, &action, NULL);
    while (scanf("%ld %ld", &interval, &wanted) == 2) {
        struct itimerval timer = {{0, interval}, {0, interval}}, off = {{0, 0}, {0, 0}};

        setitimer(ITIMER_REAL, &timer, NULL);
        for (calls = failures = 0; calls < wanted;)
            one_socket();
        setitimer(ITIMER_REAL, &off, NULL);
        printf("%ld %ld\n", failures, calls);
        fflush(stdout);
    }
    return 0;
}
