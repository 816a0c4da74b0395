/* Ask the handlers of tesla_trace about a socket, from a program that knows of them.
 *
 *     char names[256];
 *     if (ts_ioctl(fd, "", 0, TS_LIST, NULL, 0, names, sizeof names) < 0 && errno == ENOPROTOOPT)
 *         ...                                       no handlers here: go on without
 *
 * A handler is addressed by its name, and where there are several of one name by their index, the
 * one nearest the program being 0.  What it can be asked, `tesla_trace +NAME` says.  The layout is
 * the same on every ABI; numbers are in the machine's byte order.
 *
 * Errors: ENOPROTOOPT, no tesla_trace, or none for this socket; ENOTCONN, the socket has no handlers
 * yet (it gets them with connect, listen, accept or the first datagram) or no more; ENODEV, no such
 * handler; ENOTTY, it does not know the request; ERANGE, no room for the answer; EINVAL; others, as
 * the handler says.
 */
#ifndef TESLA_TRACE_H
#define TESLA_TRACE_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#define TS_LEVEL 0x7E51 /* of getsockopt(2) and setsockopt(2) */
#define TS_REQUEST 1    /* option: a struct ts_request; getsockopt(2) puts the answer in its place */
#define TS_EVENTS 2     /* option: getsockopt(2) gives a descriptor, an int */

#define TS_LIST 0       /* request to no handler: the names of all, each with its '\0' */
#define TS_LARGEST 4096 /* bytes of an argument or answer here, and of an event */

struct ts_request {
    char handler[32];
    uint32_t index, request, size, zero;
    unsigned char data[TS_LARGEST];
};

struct ts_event {
    char handler[32];
    uint32_t index, kind;
    uint32_t lost; /* events that there was no room for, before this one */
    uint32_t size;
    unsigned char data[TS_LARGEST];
};

static inline int ts_absent(int result) {
    if (result < 0 && errno == EOPNOTSUPP)
        errno = ENOPROTOOPT; /* so says Linux of some sockets */
    return result;
}

/* Ask a handler.  Returns the bytes of the answer, -1 with errno. */
static inline ssize_t ts_ioctl(int fd, const char *handler, uint32_t index, uint32_t request,
                               const void *argument, size_t size, void *answer, size_t room) {
    struct ts_request said = {.index = index, .request = request, .size = (uint32_t)size};
    socklen_t length = sizeof said;
    if (size > sizeof said.data || strlen(handler) >= sizeof said.handler) {
        errno = EINVAL;
        return -1;
    }
    strcpy(said.handler, handler);
    if (size)
        memcpy(said.data, argument, size);
    if (ts_absent(getsockopt(fd, TS_LEVEL, TS_REQUEST, &said, &length)) < 0)
        return -1;
    if (length > room) {
        errno = ERANGE;
        return -1;
    }
    if (length)
        memcpy(answer, &said, length);
    return (ssize_t)length;
}

/* A descriptor that is readable when a handler tells something of this socket; it ends with the
 * connection.  A second one ends the first.  It is closed by exec.  Returns -1 with errno. */
static inline int ts_events(int fd) {
    int events = -1;
    socklen_t length = sizeof events;
    return ts_absent(getsockopt(fd, TS_LEVEL, TS_EVENTS, &events, &length)) < 0 ? -1 : events;
}

/* The next event.  Returns 1; 0 at the end; -1 with errno. */
static inline int ts_next(int events, struct ts_event *event) {
    ssize_t got = recv(events, event, sizeof *event, 0);
    return got < 0 ? -1 : got > 0;
}

#endif
