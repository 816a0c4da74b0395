/* Times sendmsg(2) and recvmsg(2) of 100 bytes on a pair of AF_UNIX, which is how programs talk to
   D-Bus or Wayland: reads "unix CALLS" lines, and answers each with the ns per message sent and
   received. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    int ends[2];
    char kind[16], data[100] = {0};
    long calls;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return 2;
    while (scanf("%15s %ld", kind, &calls) == 2) {
        struct timespec from, to;
        struct iovec piece = {data, sizeof data};

        clock_gettime(CLOCK_MONOTONIC, &from);
        for (long i = 0; i < calls; i++) {
            struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

            if (sendmsg(ends[0], &message, 0) <= 0 || recvmsg(ends[1], &message, 0) <= 0)
                return 1;
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%.1f\n", ((to.tv_sec - from.tv_sec) * 1e9 + to.tv_nsec - from.tv_nsec) / calls);
        fflush(stdout);
    }
}
