/* Times getsockname(2): reads "KIND CALLS" lines, and answers each with the ns per call.

   KIND is connected (a TCP socket, to PORT), fresh (TCP, not connected), or unix, which is nobody's
   business but the kernel's. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "measure.h"

static int to_server(int port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    name.sin_port = htons(port);
    must(connect(fd, (struct sockaddr *)&name, sizeof name) == 0, "connect");
    return fd;
}

int main(int argc, char **argv)
{
    int ours = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0), connected;
    char kind[16];
    long calls;

    if (argc != 2)
        return 2;
    connected = to_server(atoi(argv[1]));

    while (scanf("%15s %ld", kind, &calls) == 2) {
        int fd = *kind == 'c' ? connected : *kind == 'f' ? ours : other;
        double from = now();

        for (long i = 0; i < calls; i++) {
            struct sockaddr_storage name;
            socklen_t size = sizeof name;

            must(getsockname(fd, (struct sockaddr *)&name, &size) == 0, "getsockname");
        }
        printf("%.1f\n", (now() - from) * 1e9 / calls);
        fflush(stdout);
    }
}
