/* What the measuring programs have in common: they give up at once, and look at the same clock. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

/* In seconds. */
static inline double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}
