/* Times sendmsg(2) and recvmsg(2) of 100 bytes on a pair of AF_UNIX, which is how programs talk to
   D-Bus or Wayland: reads "unix CALLS" lines, and answers each with the ns per message sent and
   received. */
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

int main(void)
{
    int ends[2];
    char kind[16], data[100] = {0};
    long calls;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return 2;
    while (scanf("%15s %ld", kind, &calls) == 2) {
        struct iovec piece = {data, sizeof data};
        double from = now();

        for (long i = 0; i < calls; i++) {
            struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

            if (sendmsg(ends[0], &message, 0) <= 0 || recvmsg(ends[1], &message, 0) <= 0)
                return 1;
        }
        printf("%.1f\n", (now() - from) * 1e9 / calls);
        fflush(stdout);
    }
}
