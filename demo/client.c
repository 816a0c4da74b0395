/* Gets a page by HTTP and knows of no proxy: HOST PORT.  To be linked statically. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char request[] = "GET / HTTP/1.0\r\n\r\n";

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET}, peer;
    socklen_t size = sizeof peer;
    char answer[4096], *body;
    size_t have = 0;
    ssize_t got;
    int fd;

    if (argc != 3)
        return 2;
    to.sin_port = htons(atoi(argv[2]));
    must(inet_pton(AF_INET, argv[1], &to.sin_addr) == 1, "inet_pton");
    must((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0, "socket");
    must(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    printf("connected to %s:%s\n", argv[1], argv[2]);
    must(getpeername(fd, (struct sockaddr *)&peer, &size) == 0, "getpeername");
    printf("my peer is %s:%d\n", inet_ntoa(peer.sin_addr), ntohs(peer.sin_port));
    must(write(fd, request, sizeof request - 1) == sizeof request - 1, "write");
    while ((got = read(fd, answer + have, sizeof answer - 1 - have)) > 0)
        have += got;
    must(got == 0, "read");
    answer[have] = 0;
    body = strstr(answer, "\r\n\r\n");
    printf("%s", body ? body + 4 : "no answer\n");
    return !body;
}
