/* Addresses as words, and a connection through a SOCKS server (RFC 1928). */

static struct sockaddr_in address(const char *words)
{
    struct sockaddr_in made = {.sin_family = AF_INET};
    char host[32];
    unsigned port;

    must(sscanf(words, "%31[0-9.]:%u", host, &port) == 2, words);
    made.sin_addr.s_addr = inet_addr(host);
    made.sin_port = htons(port);
    return made;
}

/* Ask the server at the other end of `fd` to connect to `target`; 0 where it does not. */
static int through(int fd, const struct sockaddr_in *target)
{
    unsigned char request[10] = {5, 1, 0, 1}, answer[10];

    memcpy(request + 4, &target->sin_addr, 4);
    memcpy(request + 8, &target->sin_port, 2);
    return send(fd, "\5\1\0", 3, 0) == 3 && recv(fd, answer, 2, MSG_WAITALL) == 2 &&
           answer[1] == 0 && send(fd, request, sizeof request, 0) == sizeof request &&
           recv(fd, answer, sizeof answer, MSG_WAITALL) == sizeof answer && answer[1] == 0;
}
